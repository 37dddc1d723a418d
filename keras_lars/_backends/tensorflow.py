"""The update on TensorFlow: gradients are summed over replicas, and each one updates in place."""

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_lars import _noise_scale, _replicas
from keras_lars._backends import tensorflow_xla
from keras_lars._backends.base import Backend, Slots, Squares
from keras_lars._backends.bookkeeping import merge_records, moving_average, part_squares
from keras_lars._backends.tensorflow_replicas import Replicas
from keras_lars._keras import tensorflow_context
from keras_lars._types import Tensor, Variable
from keras_lars._update_rule import Record, UpdateConfig, VariableConfig, lars_update, plain_norms

if TYPE_CHECKING:
    from keras_lars._keras.optimizer import KerasOptimizer

_PARAMETER_SERVERS = (
    tf.distribute.ParameterServerStrategy,
    tf.compat.v1.distribute.experimental.ParameterServerStrategy,
)


class TensorFlowBackend(Backend):
    """Assigns variables in place, also on the replicas of a `tf.distribute` strategy."""

    def dense(self, gradient: Tensor, variable: Variable) -> tf.Tensor:
        if isinstance(gradient, tf.IndexedSlices):
            return tf.math.unsorted_segment_sum(
                gradient.values, gradient.indices, num_segments=variable.shape[0]
            )
        return tf.convert_to_tensor(gradient)

    def holds_sum(self, accumulator: keras.Variable) -> bool:
        if not tf.executing_eagerly() or tf.distribute.has_strategy():
            return False
        return bool(tf.reduce_any(tf.not_equal(accumulator.value, 0)))

    def keeps(self, rate: Tensor, calls: keras.Variable) -> bool:
        # A variable is read in each step.
        is_number = not tf.is_tensor(rate) and not hasattr(rate, "assign")
        return is_number and not tf.executing_eagerly()

    def replicas(self) -> int:
        return int(tf.distribute.get_strategy().num_replicas_in_sync)

    def true_on_all(self, flag: tf.Tensor) -> tf.Tensor:
        return _replicas.true_on_all(flag)

    def xla_error(self, variables: Sequence[Variable]) -> str | None:
        """Why XLA cannot compile on a device that holds one of the variables, or None."""
        kinds = {tensorflow_xla.device_type(_native(variable)) for variable in variables}
        errors = [tensorflow_xla.why_not_xla(kind) for kind in sorted(kinds)]
        return next((error for error in errors if error is not None), None)

    def check_strategy(self) -> None:
        strategy = tf.distribute.get_strategy()
        if isinstance(strategy, _PARAMETER_SERVERS):
            raise ValueError(
                "The strategy must have synchronous replicas, as `MirroredStrategy` and "
                "`MultiWorkerMirroredStrategy` do: norms are computed from the gradient summed "
                f"over all replicas. Received: {type(strategy).__name__}"
            )

    def outside_of_steps(self) -> contextlib.AbstractContextManager[object]:
        return tf.init_scope()

    def after(self, tensors: list[tf.Tensor]) -> contextlib.AbstractContextManager[object]:
        return tf.control_dependencies(tensors)

    def per_replica_sum(self) -> contextlib.AbstractContextManager[object]:
        def creator(next_creator: Callable[..., tf.Variable], **arguments: Tensor) -> tf.Variable:
            arguments["synchronization"] = tf.VariableSynchronization.ON_READ
            arguments["aggregation"] = tf.VariableAggregation.SUM
            variable = next_creator(**arguments)
            if self.replicas() > 1 and not isinstance(variable, tf.distribute.DistributedValues):
                raise ValueError(
                    "The strategy must have variables that differ by replica, as "
                    "`MirroredStrategy` does, for `gradient_accumulation_steps`. "
                    f"Received: {type(tf.distribute.get_strategy()).__name__}"
                )
            return variable

        return tf.variable_creator_scope(creator)

    def add_unsaved_variable(
        self,
        optimizer: "KerasOptimizer",
        initializer: keras.initializers.Initializer,
        shape: tuple[int, ...],
        dtype: str,
        name: str,
    ) -> keras.Variable:
        with keras.name_scope(optimizer.name, caller=optimizer):
            return keras.Variable(initializer, shape=shape, dtype=dtype, trainable=False, name=name)

    @tf.autograph.experimental.do_not_convert
    def apply(
        self, optimizer: "KerasOptimizer", gradients: list[tf.Tensor], positions: list[int]
    ) -> None:
        if tf.distribute.has_strategy() and tf.distribute.in_cross_replica_context():
            raise RuntimeError(
                "`apply` must be called on each replica, in a function passed to `strategy.run`. "
                "Received: a call outside of such a function, in the scope of a strategy"
            )
        traced, squares = optimizer._update.traced, optimizer._update.squares
        traced.clear()
        traced.update(positions)
        if squares is not None:
            squares = squares._replace(parts=_native(squares.parts), last=_native(squares.last))
            gradients = [*gradients, _part_squares(gradients, positions, squares.last)]
        apply_across_replicas = functools.partial(
            _apply_across_replicas,
            optimizer=optimizer,
            positions=positions,
            slots=Slots(*([_native(variable) for variable in kind] for kind in optimizer._slots)),
            record=_native(optimizer._update.record),
            squares=squares,
        )
        tf.__internal__.distribute.interim.maybe_merge_call(
            apply_across_replicas,
            tf.distribute.get_strategy(),
            gradients,
            # Evaluated on each replica, because a schedule reads the replica's own iterations.
            tf.convert_to_tensor(optimizer.learning_rate),
            tf.convert_to_tensor(optimizer._micro_batches.value),
        )


def _apply_across_replicas(
    strategy: tf.distribute.Strategy,
    gradients: list[Tensor],
    learning_rate: Tensor,
    micro_batches: Tensor,
    *,
    optimizer: "KerasOptimizer",
    positions: list[int],
    slots: Slots,
    record: tf.Variable | None,
    squares: Squares | None,
) -> None:
    """`apply` in cross-replica context, with the gradients and numbers of all replicas.

    If squares are recorded, those of a part follow its gradients, and are added up like them.
    """
    variables = [slots.variables[i] for i in positions]
    replicas = Replicas(strategy, anchor=variables[0])

    def update(gradients: list[Tensor]) -> None:
        if squares is not None:
            *gradients, parts = gradients
        summed = replicas.summed(gradients, variables)
        if squares is not None:
            # Summed separately: in one exchange with the gradients, they could change the order in
            # which these are added.
            of_parts = replicas.summed([parts], [squares.last])
            keep = functools.partial(_keep_squares, positions, replicas.count)
            replicas.run(keep, squares.last, of_parts, summed)
        replicas.run(
            functools.partial(_update, optimizer, positions),
            summed,
            learning_rate,
            micro_batches,
            slots,
            record,
        )

    if optimizer.gradient_accumulation_steps is None:
        update(gradients)
        return
    accumulators = [slots.accumulators[i] for i in positions]
    if squares is not None:
        accumulators.append(squares.parts)

    def accumulate() -> None:
        replicas.run(_accumulate, accumulators, gradients)

    def update_by_mean(steps: int) -> None:
        update(replicas.values(_means, accumulators, gradients, steps))
        replicas.run(_empty, accumulators)

    # The condition is around the replicas and not in each of them, because the sum over replicas
    # cannot be called in a branch.
    step: Callable[[], None] = accumulate
    for steps, is_due in optimizer._accumulation.due(replicas.first(micro_batches)).items():
        step = replicas.one_of(is_due, functools.partial(update_by_mean, steps), step)
    step()


def _accumulate(accumulators: list[tf.Variable], gradients: list[tf.Tensor]) -> None:
    for accumulator, gradient in zip(accumulators, gradients):
        accumulator.assign_add(tf.cast(gradient, accumulator.dtype))


def _means(
    accumulators: list[tf.Variable], gradients: list[tf.Tensor], steps: int
) -> list[tf.Tensor]:
    return [
        (tf.cast(tf.convert_to_tensor(accumulator), gradient.dtype) + gradient) / steps
        for accumulator, gradient in zip(accumulators, gradients)
    ]


def _empty(accumulators: list[tf.Variable]) -> None:
    for accumulator in accumulators:
        accumulator.assign(tf.zeros(accumulator.shape, accumulator.dtype))


def _part_squares(gradients: list[tf.Tensor], positions: list[int], last: tf.Variable) -> tf.Tensor:
    like = tf.zeros([last.shape[1] + 1], last.dtype)
    # As accurate as `reduce_sum` of the squares, which would have to be written to memory.
    return part_squares([2 * tf.nn.l2_loss(g) for g in gradients], positions, like)


def _keep_squares(
    positions: list[int],
    replicas: int,
    last: tf.Variable,
    parts: list[tf.Tensor],
    gradients: list[tf.Tensor],
) -> None:
    of_parts = _noise_scale.mean_of_parts(parts[0], replicas)
    of_mean = _part_squares(gradients, positions, last)[:-1]
    last.assign(tf.stack([of_parts, of_mean]))


def _native(variable: Any) -> Any:
    """The TensorFlow variable of a Keras variable. Anything else is returned as it is."""
    value = getattr(variable, "value", None)
    return variable if value is None or callable(value) else value


def _update(
    optimizer: "KerasOptimizer",
    positions: list[int],
    gradients: list[tf.Tensor],
    learning_rate: tf.Tensor,
    micro_batches: tf.Tensor,
    slots: Slots,
    record: tf.Variable | None,
) -> None:
    """One update on one replica."""
    built = optimizer._update
    update: Callable[..., list[Record | None]] = update_plain
    if built.compiled and not tensorflow_context.is_searching_for_nans():
        update = functools.partial(tensorflow_xla.update_compiled, used=built.programs)
    records = update(
        [slots.variables[i] for i in positions],
        [slots.velocities[i] for i in positions],
        optimizer._clipped(gradients),
        learning_rate,
        [built.variable_configs[i] for i in positions],
        built.config,
    )
    if record is not None:
        record.assign(merge_records(record, positions, records))
    _average(optimizer, optimizer._accumulation.updates(micro_batches), slots)
    variables = optimizer._slots.variables
    for i in positions:
        constraint = variables[i].constraint
        if constraint is not None:
            slots.variables[i].assign(constraint(tf.convert_to_tensor(slots.variables[i])))


def update_plain(
    variables: Sequence[tf.Variable],
    velocities: Sequence[tf.Variable | None],
    gradients: Sequence[tf.Tensor],
    learning_rate: tf.Tensor,
    variable_configs: Sequence[VariableConfig],
    config: UpdateConfig,
) -> list[Record | None]:
    """Update variables in place, by plain ops."""
    records = []
    for variable, velocity, gradient, variable_config in zip(
        variables, velocities, gradients, variable_configs
    ):
        w = tf.convert_to_tensor(variable)
        v = None if velocity is None else tf.convert_to_tensor(velocity)
        w, v, record = lars_update(
            w, gradient, v, learning_rate, variable_config, config, plain_norms
        )
        if velocity is not None:
            velocity.assign(v)
        variable.assign(w)
        records.append(record)
    return records


def _average(optimizer: "KerasOptimizer", updates_done: tf.Tensor, slots: Slots) -> None:
    pairs = [(w, a) for w, a in zip(slots.variables, slots.averages) if a is not None]
    for w, average in pairs:
        average.assign(moving_average(average, w, optimizer.ema_momentum, updates_done))
    if pairs and optimizer.ema_overwrite_frequency:

        def overwrite() -> None:
            for w, average in pairs:
                w.assign(average)

        tf.cond(
            (updates_done + 1) % optimizer.ema_overwrite_frequency == 0, overwrite, lambda: None
        )
