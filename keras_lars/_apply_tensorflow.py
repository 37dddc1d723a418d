"""One call of `apply` on TensorFlow: summed over replicas, then done on each of them in place."""

from typing import Any

import tensorflow as tf

from keras_lars._bookkeeping import merge_records, moving_average
from keras_lars._tensorflow import device_type, update_compiled, update_plain, why_not_xla


def dense(gradient: Any, variable: Any) -> tf.Tensor:
    """The gradient with repeated indices of `tf.IndexedSlices` summed."""
    if isinstance(gradient, tf.IndexedSlices):
        return tf.math.unsorted_segment_sum(
            gradient.values, gradient.indices, num_segments=variable.shape[0]
        )
    return tf.convert_to_tensor(gradient)


def xla_error(variables: list) -> str | None:
    """Why XLA cannot compile on a device that holds one of the variables, or None."""
    kinds = {device_type(_native(variable)) for variable in variables}
    errors = [why_not_xla(kind) for kind in sorted(kinds)]
    return next((error for error in errors if error is not None), None)


def apply(optimizer: Any, gradients: list, positions: list[int]) -> None:
    """Accumulate the gradients, or update the variables at `positions` by them."""
    # Evaluated by each replica, since a schedule reads the iteration, which is a replica's own.
    learning_rate = tf.convert_to_tensor(optimizer.learning_rate)
    micro_batches = tf.convert_to_tensor(optimizer.micro_batches.value)
    slots = _values(optimizer)
    if not tf.distribute.has_strategy():
        _apply_on_replica(optimizer, positions, gradients, learning_rate, micro_batches, slots)
        return

    if tf.distribute.in_cross_replica_context():
        raise RuntimeError(
            "`apply` must be called by each replica, in a function that `strategy.run` runs. "
            "Received: a call outside of one, in the scope of a strategy"
        )

    def across_replicas(strategy, gradients, learning_rate, micro_batches):
        variables = [slots["variables"][i] for i in positions]
        strategy.extended.update(
            variables[0],
            lambda _, *local: _apply_on_replica(optimizer, positions, *local),
            args=(_summed(strategy, gradients, variables), learning_rate, micro_batches, slots),
            group=False,
        )

    tf.__internal__.distribute.interim.maybe_merge_call(
        across_replicas, tf.distribute.get_strategy(), gradients, learning_rate, micro_batches
    )


def _native(variable: Any) -> Any:
    """TensorFlow's own variable, of a Keras variable, of itself, or of `None`."""
    value = getattr(variable, "value", None)
    return variable if value is None or callable(value) else value


def _values(optimizer: Any) -> dict:
    """The slots, as TensorFlow's own variables."""
    slots = {
        kind: [_native(variable) for variable in variables]
        for kind, variables in optimizer.slots._asdict().items()
    }
    slots["record"] = _native(optimizer.plan.record)
    return slots


def _summed(strategy: tf.distribute.Strategy, gradients: list, variables: list) -> list:
    replica = tf.distribute.get_replica_context()
    if replica is not None:  # a strategy that needs no merge call
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
    return strategy.extended.batch_reduce_to(
        tf.distribute.ReduceOp.SUM, list(zip(gradients, variables))
    )


def _apply_on_replica(
    optimizer: Any,
    positions: list[int],
    gradients: list,
    learning_rate: tf.Tensor,
    micro_batches: tf.Tensor,
    slots: dict,
) -> None:
    """All of it for one replica, whose components of the variables are in `slots`."""
    steps = optimizer.gradient_accumulation_steps
    if not steps:
        _update(optimizer, positions, gradients, learning_rate, micro_batches, slots)
        return
    accumulators = [slots["accumulators"][i] for i in positions]

    def update():
        means = [(tf.cast(a, g.dtype) + g) / steps for a, g in zip(accumulators, gradients)]
        _update(optimizer, positions, means, learning_rate, micro_batches // steps, slots)
        for accumulator in accumulators:
            accumulator.assign(tf.zeros_like(accumulator))

    def accumulate():
        for accumulator, gradient in zip(accumulators, gradients):
            accumulator.assign_add(tf.cast(gradient, accumulator.dtype))

    tf.cond((micro_batches + 1) % steps == 0, update, accumulate)


def _update(
    optimizer: Any,
    positions: list[int],
    gradients: list,
    learning_rate: tf.Tensor,
    updates_done: tf.Tensor,
    slots: dict,
) -> None:
    plan = optimizer.plan
    update_variable = update_compiled if plan.compiled else update_plain
    records = [
        update_variable(
            slots["variables"][i],
            slots["velocities"][i],
            gradient,
            learning_rate,
            plan.treatments[i],
            plan.rule,
        )
        for i, gradient in zip(positions, optimizer.clipped(gradients))
    ]
    if slots["record"] is not None:
        slots["record"].assign(merge_records(slots["record"], positions, records))
    _average(optimizer, updates_done, slots)
    variables = optimizer.slots.variables
    for i in positions:
        constraint = variables[i].constraint
        if constraint is not None:
            slots["variables"][i].assign(constraint(tf.convert_to_tensor(slots["variables"][i])))


def _average(optimizer: Any, updates_done: tf.Tensor, slots: dict) -> None:
    pairs = [(w, a) for w, a in zip(slots["variables"], slots["averages"]) if a is not None]
    for w, average in pairs:
        average.assign(moving_average(average, w, optimizer.ema_momentum, updates_done))
    if pairs and optimizer.ema_overwrite_frequency:

        def overwrite():
            for w, average in pairs:
                w.assign(average)

        tf.cond(
            (updates_done + 1) % optimizer.ema_overwrite_frequency == 0, overwrite, lambda: None
        )
