"""Checks which operations of torch an update calls, on a device without values to read.

`KERAS_BACKEND=torch KERAS_TORCH_DEVICE=meta PYTHONPATH=tests python -m support.torch_calls_script
result.json` writes a JSON object that maps each check to "ok" or the traceback.
"""

import sys

import keras
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import keras_lars
from benchmarks.speed import variables
from keras_lars._update_rule import MOMENTUM_FORMS
from support.helpers import report_checks


class Calls(TorchDispatchMode):
    """The operations that are called, except those that only allocate memory or create views."""

    ALLOCATIONS = (torch.ops.aten.empty_like.default,)

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if not operation.is_view and operation not in self.ALLOCATIONS:
            self.names.append(str(operation))
        return operation(*args, **(kwargs or {}))


class FromHost(TorchFunctionMode):
    """The tensors that are made from Python numbers on the host, which calls no operation."""

    MAKERS = (torch.as_tensor, torch.asarray, torch.from_numpy, torch.tensor)

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in self.MAKERS and not isinstance(args[0], torch.Tensor):
            self.made.append((function.__name__, args[0]))
        return function(*args, **(kwargs or {}))


def called(shapes, dtype="float32", updates=1, **options):
    """The calls of the last of some updates, and the tensors that it makes on the host."""
    own = []
    for path, shape in shapes.items():
        layer, _, name = path.rpartition("/")
        with keras.name_scope(layer):
            own.append(keras.Variable(torch.empty(shape), dtype=dtype, name=name))
    lars = keras_lars.LARS(0.1, **options)
    lars.build(own)
    gradients = [torch.empty(shape, device="meta") for shape in shapes.values()]
    for _ in range(updates + 1):
        with FromHost() as from_host, Calls() as calls:
            lars.apply(gradients)
    return calls.names, from_host.made


def all_options():
    for form in MOMENTUM_FORMS:
        in_norm = {"decay_in_norm": True} if form == "ratio_of_update" else {}
        yield {"momentum_form": form, **in_norm}
        yield {"momentum_form": form, **in_norm, "nesterov": True}
    yield {"momentum": 0.0}
    yield {"decay_in_norm": True}
    yield {"trust_clip": True}
    yield {"record_trust_ratios": True}
    yield {"weight_norm_floor": 0.0}
    yield {"zero_weight_ratio": 1.0, "zero_gradient_ratio": None}
    yield {"exclude_from_layer_adaptation": [keras_lars.rank_at_most(1)]}
    yield {"exclude_from_weight_decay": []}
    yield from ({kind: 0.5} for kind in ("clipnorm", "global_clipnorm", "clipvalue"))
    yield {"use_ema": True}
    yield {"use_ema": True, "ema_overwrite_frequency": 3}
    yield {"dtype": "bfloat16"}
    for record in (False, True):
        accumulating = {"gradient_accumulation_steps": 2, "record_noise_scale": record}
        yield {**accumulating, "updates": 1}
        yield {**accumulating, "updates": 2}
    growing = {"gradient_accumulation_steps": {0: 1, 1: 2}, "use_ema": True}
    yield {**growing, "ema_overwrite_frequency": 3, "updates": 2}


# The options with the most calls.
WORST = {
    "momentum_form": "ratio_of_update",
    "decay_in_norm": True,
    "nesterov": True,
    "trust_clip": True,
    "record_trust_ratios": True,
    "clipvalue": 0.5,
    "use_ema": True,
    "ema_overwrite_frequency": 3,
}


def check_resnet50():
    """At most 400 calls, and far fewer with few options."""
    for options, limit in (({}, 100), (WORST, 400)):
        names, _ = called(variables.model("resnet50"), **options)
        print(len(names), options)
        assert len(names) <= limit, (options, len(names))


def check_nothing_is_made_on_the_host():
    for options in [{}, *all_options()]:
        _, made = called(variables.small_variables(6), **options)
        assert not made, (options, made)


def check_calls_do_not_grow():
    for options in [{}, *all_options()]:
        few, many = (
            called({f"layer{i}/kernel": (3, 4) for i in range(count)}, **options)[0]
            for count in (3, 6)
        )
        assert few == many, (options, len(few), len(many))


def check_micro_batches_are_read_once():
    """On the CPU, where a tensor has a value to read."""
    with keras.device("cpu"):
        variable = keras.Variable(torch.ones(2, device="cpu"), name="kernel")
        lars = keras_lars.LARS(0.1, gradient_accumulation_steps=3)
        lars.build([variable])
        read = []
        for _ in range(4):
            with Calls() as calls:
                lars.apply([torch.ones(2)])
            read.append(calls.names.count("aten._local_scalar_dense.default"))
    assert read == [1, 0, 0, 0], read


def check_a_number_from_the_host_is_seen():
    zeros = torch.zeros(2, device="meta")
    with FromHost() as from_host:
        keras.ops.where(zeros == 0, 1.0, zeros)
    assert from_host.made == [("as_tensor", 1.0)]


CHECKS = [name for name in globals() if name.startswith("check_")]


if __name__ == "__main__":
    assert keras.backend.backend() == "torch"
    report_checks({name: globals()[name] for name in CHECKS}, sys.argv[1])
