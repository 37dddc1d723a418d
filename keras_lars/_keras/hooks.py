"""Methods of Keras's optimizers that LARS never calls, so that overriding them has no effect."""

_APPLY = (
    "`apply(grads, trainable_variables)`, which may change the gradients before and the variables "
    "after it calls `super().apply`"
)
_AVERAGES = "`finalize_variable_values`, or use `keras.callbacks.SwapEMAWeights`"

# The methods that Keras calls in a `fit` and LARS never does, and what to override instead.
NEVER_CALLED = {
    "update_step": _APPLY,
    "_backend_update_step": _APPLY,
    "_backend_apply_gradients": _APPLY,
    "_distributed_tf_update_step": _APPLY,
    "_parallel_update_step": _APPLY,
    "_all_reduce_sum_gradients": _APPLY,
    "_backend_reset_gradient_accumulators": _APPLY,
    "_backend_increment_gradient_accumulators": _APPLY,
    "assign": _APPLY,
    "assign_add": _APPLY,
    "assign_sub": _APPLY,
    "_apply_weight_decay": "nothing, and use `exclude_from_weight_decay` instead",
    "_use_weight_decay": "nothing, and pass a callable to `exclude_from_weight_decay` instead",
    "_update_model_variables_moving_average": _AVERAGES,
    "_overwrite_model_variables_with_average_value": _AVERAGES,
}


def refuse(name: str, received: str) -> None:
    """Raise ValueError if `name` is one of these methods."""
    if name in NEVER_CALLED:
        raise ValueError(
            f"`{name}` must not be overridden, because LARS never calls it: the override would "
            f"have no effect. Override {NEVER_CALLED[name]}. Received: {received}"
        )
