"""One call of `apply` on TensorFlow: summed over replicas, then done on each of them in place."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_lars._backends.bookkeeping import merge_records, moving_average
from keras_lars._backends.tensorflow_update import (
    device_type,
    update_compiled,
    update_plain,
    why_not_xla,
)
from keras_lars._keras import tensorflow_context

_PARAMETER_SERVERS = (
    tf.distribute.ParameterServerStrategy,
    tf.compat.v1.distribute.experimental.ParameterServerStrategy,
)


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


def check_strategy() -> None:
    """Raise where replicas do not step together."""
    strategy = tf.distribute.get_strategy()
    if isinstance(strategy, _PARAMETER_SERVERS):
        raise ValueError(
            "The strategy must be one whose replicas step together, such as `MirroredStrategy` or "
            "`MultiWorkerMirroredStrategy`: the norms are those of the gradient summed over them. "
            f"Received: {type(strategy).__name__}"
        )


def outside_of_steps() -> contextlib.AbstractContextManager:
    """What is done in here is done once, and is no part of a function that is being traced."""
    return tf.init_scope()


def after(tensors: list) -> contextlib.AbstractContextManager:
    """What is done in here is done once there are these tensors."""
    return tf.control_dependencies(tensors)


def per_replica_sum() -> contextlib.AbstractContextManager:
    """Variables made in here keep a value for each replica, and are read and saved as the sum."""

    def creator(next_creator, **arguments):
        arguments["synchronization"] = tf.VariableSynchronization.ON_READ
        arguments["aggregation"] = tf.VariableAggregation.SUM
        return next_creator(**arguments)

    return tf.variable_creator_scope(creator)


@tf.autograph.experimental.do_not_convert
def apply(optimizer: Any, gradients: list, positions: list[int]) -> None:
    """Accumulate the gradients, or update the variables at `positions` by them."""
    if tf.distribute.has_strategy() and tf.distribute.in_cross_replica_context():
        raise RuntimeError(
            "`apply` must be called by each replica, in a function that `strategy.run` runs. "
            "Received: a call outside of one, in the scope of a strategy"
        )
    slots = _values(optimizer)
    steps = optimizer.gradient_accumulation_steps

    def across_replicas(strategy, gradients, learning_rate, micro_batches):
        replicas = _Replicas(strategy, anchor=slots["variables"][positions[0]])

        def update(gradients):
            replicas.run(
                functools.partial(_update, optimizer, positions),
                replicas.summed(gradients, [slots["variables"][i] for i in positions]),
                learning_rate,
                micro_batches,
                slots,
            )

        if not steps:
            update(gradients)
            return
        accumulators = [slots["accumulators"][i] for i in positions]

        def accumulate():
            replicas.run(_accumulate, accumulators, gradients)

        def update_by_mean():
            update(replicas.values(_means, accumulators, gradients, steps))
            replicas.run(_empty, accumulators)

        # Not the other way round, a condition in each replica: what crosses replicas, the one sum
        # of an update, cannot be called in a branch.
        is_update = (replicas.first(micro_batches) + 1) % steps == 0
        tf.cond(is_update, replicas.branch(update_by_mean), replicas.branch(accumulate))

    tf.__internal__.distribute.interim.maybe_merge_call(
        across_replicas,
        tf.distribute.get_strategy(),
        gradients,
        # Evaluated by each replica, since a schedule reads the iteration, which is a replica's own.
        tf.convert_to_tensor(optimizer.learning_rate),
        tf.convert_to_tensor(optimizer._micro_batches.value),
    )


class _Replicas:
    """What one call of `apply` does on the replicas of a strategy; one device is one replica.

    Called across replicas, or, by a strategy that needs no merge call, in each of them.
    """

    def __init__(self, strategy: tf.distribute.Strategy, anchor: tf.Variable):
        self._strategy = strategy
        self._anchor = anchor
        self._in_replica = tf.distribute.get_replica_context() is not None

    def run(self, function: Callable, *arguments: Any) -> None:
        """Run `function` on each replica, with this replica's components of the arguments."""
        self._strategy.extended.update(
            self._anchor,
            lambda _, *components: function(*components),
            args=arguments,
            group=False,
        )

    def values(self, function: Callable, *arguments: Any) -> Any:
        """What `function` returns on each replica."""
        if self._in_replica:
            return function(*arguments)
        return self._strategy.extended.call_for_each_replica(function, args=arguments)

    def summed(self, gradients: list, variables: list) -> list:
        """The sum over replicas, where the variables are."""
        if self._in_replica:
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if not all(isinstance(g, tf.distribute.DistributedValues) for g in gradients):
            # A tensor that is the gradient of all replicas comes as itself.
            gradients = self.values(lambda shares: [tf.identity(g) for g in shares], gradients)
        return self._strategy.extended.batch_reduce_to(
            tf.distribute.ReduceOp.SUM, list(zip(gradients, variables))
        )

    def first(self, value: Any) -> tf.Tensor:
        """A value that is the same on every replica, as one tensor."""
        if self._in_replica:
            return value
        return self._strategy.experimental_local_results(value)[0]

    def branch(self, function: Callable) -> Callable:
        """The function, as a branch of `tf.cond`: a new graph, which knows of no strategy."""
        if self._in_replica or not tf.distribute.has_strategy():
            return function

        def in_scope():
            with self._strategy.scope():
                function()

        return in_scope


def _accumulate(accumulators: list, gradients: list) -> None:
    for accumulator, gradient in zip(accumulators, gradients):
        accumulator.assign_add(tf.cast(gradient, accumulator.dtype))


def _means(accumulators: list, gradients: list, steps: int) -> list:
    return [
        (tf.cast(tf.convert_to_tensor(accumulator), gradient.dtype) + gradient) / steps
        for accumulator, gradient in zip(accumulators, gradients)
    ]


def _empty(accumulators: list) -> None:
    for accumulator in accumulators:
        accumulator.assign(tf.zeros(accumulator.shape, accumulator.dtype))


def _native(variable: Any) -> Any:
    """TensorFlow's own variable, of a Keras variable, of itself, or of `None`."""
    value = getattr(variable, "value", None)
    return variable if value is None or callable(value) else value


def _values(optimizer: Any) -> dict:
    """The slots, as TensorFlow's own variables."""
    slots = {
        kind: [_native(variable) for variable in variables]
        for kind, variables in optimizer._slots._asdict().items()
    }
    slots["record"] = _native(optimizer._plan.record)
    return slots


def _update(
    optimizer: Any,
    positions: list[int],
    gradients: list,
    learning_rate: tf.Tensor,
    micro_batches: tf.Tensor,
    slots: dict,
) -> None:
    plan = optimizer._plan
    update_variable = update_plain
    if plan.compiled and not tensorflow_context.is_searching_for_nans():
        update_variable = functools.partial(
            update_compiled, used=plan.compiled_updates, constants={}
        )
    records = [
        update_variable(
            slots["variables"][i],
            slots["velocities"][i],
            gradient,
            learning_rate,
            plan.treatments[i],
            plan.rule,
        )
        for i, gradient in zip(positions, optimizer._clipped(gradients))
    ]
    if slots["record"] is not None:
        slots["record"].assign(merge_records(slots["record"], positions, records))
    _average(optimizer, micro_batches // (optimizer.gradient_accumulation_steps or 1), slots)
    variables = optimizer._slots.variables
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
