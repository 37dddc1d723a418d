"""The model that an optimizer is being built for, which Keras does not tell the optimizer."""

import inspect

import keras

# The methods of `keras.Model` that build its optimizer for a training. `compile_from_config` builds
# one too, for a model that is loaded from a file: that training is over.
_METHODS = ("fit", "train_step", "train_on_batch", "evaluate")


def fitted_model(optimizer: keras.optimizers.Optimizer) -> keras.Model | None:
    """The model in whose `fit` or training step this is called, if `optimizer` is its own.

    Under a strategy each replica traces the step in a thread of its own, where `train_step` is on
    the stack and `fit` is not; otherwise both are, or, on JAX and torch, `fit` alone.

    Args:
        optimizer: The optimizer that is being built, which may be inside a `LossScaleOptimizer`.

    Returns:
        The model, or `None` in a custom loop, or where the optimizer is built by hand.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name in _METHODS:
            model = frame.f_locals.get("self")
            if isinstance(model, keras.Model) and _has(model, optimizer):
                return model
        frame = frame.f_back
    return None


def _has(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> bool:
    outer = getattr(model, "optimizer", None)
    return outer is optimizer or getattr(outer, "inner_optimizer", None) is optimizer
