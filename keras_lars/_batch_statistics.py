"""Moving statistics of batch normalization: which layers have them, and whether they can keep up.

`BatchNormalization` evaluates with averages that start at a mean of 0 and a variance of 1 and move
with every training batch. After few batches they are still near where they started, so evaluation
reflects the starting values rather than the weights.
"""

import math
import warnings
import weakref
from collections.abc import Iterable
from typing import Any

import keras

from keras_lars import _arguments
from keras_lars._chief import is_chief
from keras_lars._keras.layers import all_layers
from keras_lars._words import counted, listed

# The largest share of the initial statistics that may remain without a warning.
LARGEST_SHARE = 0.05
# An attribute of the callback that recomputes statistics, and a key in the parameters that `fit`
# passes to all of its callbacks before it begins.
_RECALIBRATES = "_recalibrates_statistics"

_warned: "weakref.WeakSet[keras.Model]" = weakref.WeakSet()


def moving_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers whose moving statistics change in training.

    These are all layers with the attributes of `BatchNormalization`: `momentum`, `moving_mean` and
    `moving_variance`. Frozen layers are left out: they run in inference mode.
    """
    names = ("momentum", "moving_mean", "moving_variance")
    return [
        layer
        for layer in all_layers(model)
        if layer.trainable and all(hasattr(layer, name) for name in names)
    ]


def warn_if_stale(model: keras.Model, batches: int) -> None:
    """Warn, once for each model, if training is too short for its moving statistics.

    A layer keeps `momentum ** batches` of its initial statistics. The warning names layers that
    keep more than 0.05, except those whose statistics were trained before, as in fine-tuning. With
    several workers, only the chief warns.

    Args:
        model: A model that is about to be trained.
        batches: Integer, 1 or more, the number of batches in the whole training. With gradient
            accumulation, the number of micro-batches: each of them changes the statistics.

    Raises:
        ValueError: If `batches` is not as above.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization(name="bn")])
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_if_stale(model, batches=117)
    >>> print(caught[0].message)  # doctest: +ELLIPSIS
    After 117 batches 31 % of the initial moving statistics remain in `bn`, so evaluation and ...
    """
    batches = _arguments.integer(minimum=1)("batches", batches)
    if model in _warned or not is_chief(model):
        return
    stale = [
        layer
        for layer in moving_layers(model)
        if layer.momentum**batches > LARGEST_SHARE and _is_initial(layer)
    ]
    if not stale:
        return
    _warned.add(model)
    share = max(layer.momentum for layer in stale) ** batches
    names = listed([layer.name for layer in stale])
    after = counted(batches, "batch", "batches")
    warnings.warn(
        f"After {after} {_percent(share)} of the initial moving statistics remain in {names}, so "
        "evaluation and inference are less accurate than the weights allow. Use "
        f"`BatchNormalization(momentum={_sufficient(batches):g})`, or pass the callback "
        "`keras_lars.callbacks.RecalibrateStatistics` to `fit`.",
        stacklevel=2,
    )


def _is_initial(layer: keras.layers.Layer) -> bool:
    """Whether the layer's statistics are the initial ones: a mean of 0 and a variance of 1."""
    if not layer.built:
        return True
    ops = keras.ops
    mean_is_0 = ops.all(ops.equal(layer.moving_mean, 0))
    return bool(mean_is_0) and bool(ops.all(ops.equal(layer.moving_variance, 1)))


def _percent(share: float) -> str:
    # With a momentum of 0.999, what remains after one batch must not be shown as 100 %.
    return f"{min(99, round(100 * share))} %" if share < 1 else "100 %"


def _sufficient(batches: int) -> float:
    """A momentum that leaves at most `LARGEST_SHARE`: 0.9, or less, rounded to two digits."""
    return min(0.9, math.floor(100 * LARGEST_SHARE ** (1 / batches)) / 100)


def recalibrates(callbacks: Iterable[keras.callbacks.Callback]) -> bool:
    """Whether one of the callbacks recomputes the moving statistics."""
    return any(getattr(callback, _RECALIBRATES, False) for callback in callbacks)


def mark_recalibrated(params: dict[str, Any] | None) -> None:
    """Tell the other callbacks of a `fit`, which get the same parameters, not to warn."""
    if params is not None:
        params[_RECALIBRATES] = True


def warn_in_fit(model: keras.Model, params: dict[str, Any] | None) -> None:
    """Call `warn_if_stale` in a callback's `on_train_begin`, if `fit` knows its batches.

    Args:
        model: The callback's model.
        params: The callback's parameters.
    """
    params = params or {}
    steps, epochs = params.get("steps"), params.get("epochs")
    if steps and epochs and not params.get(_RECALIBRATES):
        warn_if_stale(model, steps * epochs)
