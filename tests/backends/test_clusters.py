"""Variables that share an XLA cluster get the same bits as each in its own cluster.

The tests set `sharing` to each of its values, since on CPUs it has only one.
"""

from typing import get_args

import pytest
import tensorflow as tf
from support.models import assert_equal, make_variable, normal, numbers

import keras_lars
from keras_lars._backends import tensorflow_clusters
from keras_lars._backends.tensorflow_clusters import Sharing, clusters, sharing
from keras_lars._backends.tensorflow_xla import Signature

pytestmark = pytest.mark.slow

# More kernels of one shape than a group holds, biases, and a kernel that is summed in stages.
SHAPES = {
    **{f"layer{i}/kernel": (5, 7) for i in range(9)},
    **{f"layer{i}/bias": (7,) for i in range(3)},
    "layer8/bias": (35,),
    "wide/kernel": (64, 1024),
}
# Groups: 8 kernels, the ninth kernel, the biases, the long bias, the wide kernel.
LAUNCHES = {"alike": 5, "all": 1}


def launches(graph):
    """The number of calls of XLA-compiled functions in a step."""
    definition = graph.as_graph_def()
    bodies = [definition.node, *(f.node_def for f in definition.library.function)]
    nodes = [node for body in bodies for node in body]
    return sum("_XlaMustCompile" in node.attr and node.attr["_XlaMustCompile"].b for node in nodes)


def trained(scope, **options):
    """Variables and slots on each replica after two steps under a strategy; the step's graph."""
    with scope.scope():
        variables = [
            make_variable(path, normal([1, i], shape))
            for i, (path, shape) in enumerate(SHAPES.items())
        ]
        optimizer = keras_lars.LARS(0.5, weight_decay=0.125, trust_coefficient=0.25, **options)
        optimizer.build(variables)

    @tf.function(autograph=False)
    def step(gradients):
        scope.run(lambda local: optimizer.apply(local, variables), args=(gradients,))

    for number in range(2):
        gradients = [normal([2, number, i], shape) for i, shape in enumerate(SHAPES.values())]
        # Each replica gets an equal part, so that the sum is what one device has.
        gradients = [tf.constant(g / scope.num_replicas_in_sync) for g in gradients]
        step(gradients)
    local = [scope.experimental_local_results(v.value) for v in [*variables, *optimizer.variables]]
    by_replica = [numbers(of_replica) for of_replica in zip(*local, strict=True)]
    return by_replica, step.get_concrete_function(gradients).graph


@pytest.fixture
def share(monkeypatch):
    """A function that sets how variables share clusters."""

    def set_to(choice):
        monkeypatch.setattr(tensorflow_clusters, "sharing", lambda on_cpu: choice)

    return set_to


OPTIONS = {
    "excluded, recorded, clipped": {
        "exclude_from_layer_adaptation": "bias",
        "record_trust_ratios": True,
        "global_clipnorm": 0.25,
        "momentum_form": "ratio_outside",
    },
    "no momentum": {"momentum": 0},
}


@pytest.fixture(scope="module")
def without_sharing():
    """The values after a training in which each variable has its own cluster."""
    default, runs, values = tf.distribute.get_strategy(), {"classic": {}, **OPTIONS}, {}
    for name, options in runs.items():
        (values[name],), graph = trained(default, **options)
        assert launches(graph) == len(SHAPES)
    return values


@pytest.mark.parametrize("choice", LAUNCHES)
@pytest.mark.parametrize("name", OPTIONS)
def test_the_bits_do_not_depend_on_the_sharing(name, choice, without_sharing, share):
    share(choice)
    (values,), graph = trained(tf.distribute.get_strategy(), **OPTIONS[name])
    assert_equal(values, without_sharing[name])
    assert launches(graph) == LAUNCHES[choice]


@pytest.mark.parametrize("choice", get_args(Sharing))
def test_like_variables_of_replicas_are_not_mixed_up(choice, strategy, without_sharing, share):
    """A function that takes variables would mix them up: it captures those of its first call."""
    share(choice)
    for values in trained(strategy)[0]:
        assert_equal(values, without_sharing["classic"])


def signature(**settings):
    return Signature(None, None, (2, 3), tf.float32, True, False, False)._replace(**settings)


def test_groups_are_of_one_signature_and_one_device():
    same, other = signature(), signature(shape=(3, 2))
    assert list(clusters([same, other, same], ["a", "a", "a"])) == [[0, 2], [1]]
    assert list(clusters([same, same, same], ["a", "b", "a"])) == [[0, 2], [1]]
    assert list(map(len, clusters([same] * 17, ["a"] * 17))) == [8, 8, 1]
    on_cpu = signature(on_cpu=True)
    assert list(clusters([on_cpu] * 2, ["a"] * 2)) == [[0], [1]]


def test_all_variables_of_a_device_share_a_cluster(share):
    share("all")
    signatures = [signature(shape=(n,)) for n in range(20)]
    assert [len(each) for each in clusters(signatures, ["a"] * 15 + ["b"] * 5)] == [15, 5]


def test_sharing_by_device():
    assert (sharing(on_cpu=True), sharing(on_cpu=False)) == ("none", "alike")
