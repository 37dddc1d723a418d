"""Calls every public callable with every value of `fuzz_values` for every argument."""

import functools
import inspect
import json
import math
import pathlib
import tempfile
from typing import Any, NamedTuple

import keras
import numpy as np

import keras_lars
from keras_lars._monitoring import history
from keras_lars._types import KerasArguments
from support import fuzz_files
from support.fuzz_values import VALUES


class Target(NamedTuple):
    """A callable, its arguments (one of which is replaced), and a function that uses the result."""

    call: Any
    given: dict
    use: Any
    more: tuple = ()  # arguments that the signature does not show
    besides: tuple = ()  # names that an error may mention instead of the argument
    prepare: Any = fuzz_files.nothing


def variables():
    kernel = keras.Variable([[1.0, 2.0], [3.0, 4.0]], name="kernel")
    return [kernel, keras.Variable([1.0, 2.0], name="bias")]


def trained(optimizer):
    """Makes an update, and rebuilds the optimizer from its configuration."""
    found = variables()
    optimizer.apply([keras.ops.ones(v.shape) for v in found], found)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if hasattr(inner._learning_rate, "assign"):
        config = optimizer.get_config()
        # Keras serializes rules that are not text, which must survive JSON too.
        again = type(optimizer).from_config(json.loads(json.dumps(config)))
        assert json.dumps(again.get_config()) == json.dumps(config)


def built(optimizer, given=None):
    optimizer.build(variables() if given is None else given)
    assert len(optimizer.variable_table()) == len(optimizer._trainable_variables)
    assert str(optimizer.variable_table())


def scheduled(schedule):
    for step in (0, 1, 5, 10**6):
        assert math.isfinite(float(schedule(step))), step
    again = type(schedule).from_config(json.loads(json.dumps(schedule.get_config())))
    assert again.get_config() == schedule.get_config()


@functools.cache
def model():
    """A small model, compiled once."""
    layers = [keras.Input((2,)), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    made = keras.Sequential(layers)
    made.compile(keras_lars.LARS(record_trust_ratios=True, jit_compile=False), "mse")
    return made


def fitted(callback):
    model().fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=[callback])


def monitored(callback):
    fitted(callback)
    for name in {"csv", "jsonl"} & set(callback.formats):
        path = callback.log_dir / f"trust_ratios.{name}"
        if path.exists():  # only if an update was due: other cases train this model too
            assert len(history.read(path).variables) == 4


@functools.cache
def accumulating_model():
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    options = {"record_noise_scale": True, "gradient_accumulation_steps": 2}
    made.compile(keras_lars.LARS(jit_compile=False, **options), "mse")
    return made


def noise_monitored(callback):
    before = int(accumulating_model().optimizer.iterations)
    accumulating_model().fit(
        np.ones((4, 2)), np.ones((4, 1)), batch_size=2, epochs=2, verbose=0, callbacks=[callback]
    )
    due = any(update % callback.update_freq == 0 for update in (before, before + 1))
    for name in {"csv", "jsonl"} & set(callback.formats):
        path = callback.log_dir / f"noise_scale.{name}"
        assert path.exists() == due
        assert not due or "(all)" in path.read_text()


def accepted(value):
    """The result is a number, a rule or a path."""
    if isinstance(value, float):
        assert 0 <= value < math.inf
    else:
        assert str(value)


def assigned(learning_rate):
    optimizer = keras_lars.LARS(jit_compile=False)
    optimizer.learning_rate = learning_rate
    trained(optimizer)


def excluding(method, **given):
    optimizer = keras_lars.LARS(jit_compile=False)
    getattr(optimizer, method)(**given)
    return optimizer


def drawn(index):
    assert pathlib.Path(index).read_text(encoding="utf-8")


def called(step):
    return [
        schedule(step)
        for schedule in (
            keras_lars.schedules.WarmUp(1.0, 4),
            keras_lars.schedules.FitSchedule(64, 2, 8, 1.0),
        )
    ]


_FIT = {"samples": 5000, "epochs": 8, "global_batch_size": 64}
_RULES = ("exclude_from_weight_decay", "exclude_from_layer_adaptation", "pattern")

TARGETS = {
    "callbacks.BackupAndRestore": Target(
        keras_lars.callbacks.BackupAndRestore, {"backup_dir": tempfile.mkdtemp}, accepted
    ),
    "LARS": Target(
        keras_lars.LARS,
        {"jit_compile": False},
        trained,
        more=tuple(KerasArguments.__annotations__),
        besides=("decay_in_norm",),
    ),
    "LARS.build": Target(
        lambda variables: built(keras_lars.LARS(), variables), {}, accepted, besides=("variables",)
    ),
    "LARS.from_config": Target(
        keras_lars.LARS.from_config,
        {"config": {"jit_compile": False}},
        trained,
        besides=("class_name", "module"),
    ),
    "LARS.learning_rate": Target(assigned, {}, accepted),
    **{
        f"LARS.{name}": Target(
            functools.partial(excluding, name),
            {},
            built,
            more=("var_list", "var_names"),
            besides=_RULES,
        )
        for name in ("exclude_from_weight_decay", "exclude_from_layer_adaptation")
    },
    "LossScaleOptimizer": Target(
        keras_lars.LossScaleOptimizer,
        {"inner_optimizer": lambda: keras_lars.LARS(jit_compile=False)},
        trained,
    ),
    "bias_or_normalization": Target(keras_lars.bias_or_normalization, {}, accepted),
    "optional": Target(
        keras_lars.optional,
        {},
        lambda rule: trained(keras_lars.LARS(jit_compile=False, exclude_from_weight_decay=rule)),
    ),
    "rank_at_most": Target(
        keras_lars.rank_at_most,
        {},
        lambda rule: trained(keras_lars.LARS(jit_compile=False, exclude_from_weight_decay=rule)),
    ),
    "callbacks.AverageStatistics": Target(keras_lars.callbacks.AverageStatistics, {}, fitted),
    "callbacks.NoiseScaleMonitor": Target(
        keras_lars.callbacks.NoiseScaleMonitor, {"log_dir": "log"}, noise_monitored
    ),
    "callbacks.RecalibrateStatistics": Target(
        keras_lars.callbacks.RecalibrateStatistics, {"data": np.ones((4, 2))}, fitted
    ),
    "callbacks.TrustRatioMonitor": Target(
        keras_lars.callbacks.TrustRatioMonitor, {"log_dir": "log"}, monitored
    ),
    "multi_worker.prepare": Target(keras_lars.multi_worker.prepare, {}, accepted),
    "multi_worker.strategy": Target(keras_lars.multi_worker.strategy, {}, accepted),
    "report.draw": Target(
        keras_lars.report.draw, {"run": "log"}, drawn, prepare=fuzz_files.write_record
    ),
    "schedules.FitSchedule": Target(
        keras_lars.schedules.FitSchedule, {**_FIT, "peak": 4.0}, scheduled, besides=tuple(_FIT)
    ),
    "schedules.WarmUp": Target(
        keras_lars.schedules.WarmUp, {"schedule": 1.0, "warmup_steps": 4}, scheduled
    ),
    "schedules called": Target(called, {}, accepted),
    "schedules.for_fit": Target(keras_lars.schedules.for_fit, _FIT, scheduled, besides=tuple(_FIT)),
    **{
        f"schedules.{name}": Target(
            getattr(keras_lars.schedules, name),
            {"base_learning_rate": 4.0, "global_batch_size": 512},
            accepted,
        )
        for name in ("linear_scaling", "sqrt_scaling")
    },
}


def arguments(target):
    """The names of a target's arguments."""
    parameters = inspect.signature(target.call).parameters.values()
    named = [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return list(dict.fromkeys([*named, *target.more]))


def cases():
    """By name: the names that an error may mention, the preparation, and the call."""
    return {
        f"argument {name}({argument}) <- {kind}": (
            (argument, *target.besides),
            target.prepare,
            functools.partial(_act, target, argument, value),
        )
        for name, target in TARGETS.items()
        for argument in arguments(target)
        for kind, value in VALUES.items()
    }


def _act(target, argument, value, folder):
    del folder
    given = {name: each() if callable(each) else each for name, each in target.given.items()}
    target.use(target.call(**{**given, argument: value()}))
