"""What the monitor asks of a model and of its optimizer."""

import dataclasses
from typing import Any

import keras

from keras_lars._version import __version__
from keras_lars.optimizer import LARS


def lars_of(model: keras.Model) -> LARS:
    """The optimizer that records, from inside of loss scaling too."""
    optimizer = getattr(model, "optimizer", None)
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not isinstance(inner, LARS):
        raise ValueError(
            "The optimizer of the model must be `keras_lars.LARS`, or a `LossScaleOptimizer` round "
            f"it, for `TrustRatioMonitor`. Received: {type(inner).__name__}"
        )
    if not inner.record_trust_ratios:
        raise ValueError(
            "`TrustRatioMonitor` needs `LARS(record_trust_ratios=True)`. "
            "Received: record_trust_ratios=False"
        )
    return inner


def updates_of(optimizer: LARS) -> int:
    """The updates that are done."""
    return int(keras.ops.convert_to_numpy(optimizer.iterations))


def is_chief(model: keras.Model) -> bool:
    """Whether this process is the one of all workers that writes files."""
    if keras.backend.backend() != "tensorflow":
        return True
    from keras_lars import _replicas

    return _replicas.is_chief(model.distribute_strategy)


def description(optimizer: LARS) -> dict[str, Any]:
    """What does not change in a training, as JSON can hold it."""
    return {
        "optimizer": {
            "learning_rate": _learning_rate(optimizer),
            "weight_decay": optimizer.weight_decay,
            **dataclasses.asdict(optimizer._update.config),
            "gradient_accumulation_steps": optimizer.gradient_accumulation_steps,
        },
        "versions": {
            "keras_lars": __version__,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        },
        "variables": [row._asdict() for row in optimizer.variable_table()],
    }


def _learning_rate(optimizer: LARS) -> Any:
    """A number, or what a schedule is made of, as far as it tells."""
    schedule = optimizer._schedule
    if schedule is None:
        return optimizer._last_learning_rate()
    try:
        return keras.saving.serialize_keras_object(schedule)
    except NotImplementedError:  # a schedule without `get_config`
        return type(schedule).__name__
