"""The compiled update works in place, holds no copies, and gives the same bits each time."""

import numpy as np
import pytest
import tensorflow as tf
from support.helpers import make_variables, run_code

import keras_lars

pytestmark = pytest.mark.slow

# Summed in stages, in stages with a remainder, and by a single loop.
SHAPES = {"staged": (64, 1024), "remainder": (40_003,), "small": (3, 5)}


def address(variable):
    """The address of the numbers of a variable. No reference to them is left behind."""
    return np.asarray(memoryview(variable.value.read_value())).__array_interface__["data"][0]


@pytest.mark.parametrize("options", [{}, {"nesterov": True}, {"momentum_form": "ratio_outside"}])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_weights_and_velocity_keep_their_addresses(shape, options):
    (variable,) = make_variables({"w": np.ones(shape)})
    optimizer = keras_lars.LARS(**options)
    optimizer.build([variable])
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]), autograph=False)
    gradient = tf.ones(shape)
    step(gradient)
    places = [address(variable), address(optimizer.momentums[0])]
    assert len(set(places)) == 2
    for _ in range(3):
        step(gradient)
    assert [address(variable), address(optimizer.momentums[0])] == places


@pytest.mark.skipif(
    tuple(map(int, tf.__version__.split(".")[:2])) < (2, 21),
    reason="the XLA of TensorFlow 2.18 holds temporary arrays as large as the variable",
)
def test_no_hidden_copies(another_process):
    """At its peak a step holds weights, gradient and velocity, and less than a tenth more."""
    state, baseline, highest = map(int, another_process[:3])
    assert 0.9 * state < highest - baseline < 1.1 * state


RESIDENT = """
import keras, keras_lars
import tensorflow as tf
from benchmarks.speed import memory

def make(elements):
    variable = keras.Variable(tf.ones(elements), name="w")
    optimizer = keras_lars.LARS()
    optimizer.build([variable])
    gradient = tf.ones(elements)
    step = tf.function(lambda g: optimizer.apply([g], [variable]), autograph=False)
    step(gradient)
    return lambda: step(gradient)

small = make(5_000)
elements = 30_000_000
baseline = memory.settled_bytes()
step = make(elements)
print(3 * 4 * elements, baseline, memory.high_water_bytes(step))
"""


def test_the_same_bits_each_time(another_process):
    """In this process and in another, although several threads compute the sums."""
    here = {}
    exec(BITS, here)
    digests = [*another_process[3:], here["digest"](), here["digest"]()]
    assert len(digests) == 4
    assert len(set(digests)) == 1


BITS = """
import hashlib
import keras, keras_lars
import numpy as np
import tensorflow as tf

SHAPES = [(1000, 1003), (50,), (512, 512)]

def digest():
    random = np.random.default_rng(0)
    make = lambda: [random.normal(size=shape).astype("float32") for shape in SHAPES]
    variables = [keras.Variable(array) for array in make()]
    optimizer = keras_lars.LARS(5.0)
    optimizer.build(variables)
    step = tf.function(lambda g: optimizer.apply(g, variables), autograph=False)
    for _ in range(5):
        step([tf.constant(array) for array in make()])
    return hashlib.sha256(b"".join(v.numpy().tobytes() for v in variables)).hexdigest()
"""


@pytest.fixture(scope="module")
def another_process():
    """What another process prints: three numbers about its memory, and two digests."""
    return run_code(f"{RESIDENT}\n{BITS}\nprint(digest(), digest())").split()[-5:]
