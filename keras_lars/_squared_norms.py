"""Records squared norms of the gradients of the parts of a batch, for each variable."""

from collections.abc import Sequence
from typing import NamedTuple

import keras

from keras_lars import _backends
from keras_lars._backends import Squares
from keras_lars._backends.bookkeeping import NEVER_UPDATED
from keras_lars._trust_ratios import RecordingOptimizer, dtype_of_record
from keras_lars._types import Tensor, Variable


class SquaredNorms(NamedTuple):
    """Squared gradient norms of one variable at one update."""

    of_parts: float  # the mean over the parts of the batch
    of_mean: float  # the squared norm of the mean gradient


class MeasuringOptimizer(RecordingOptimizer):
    """An optimizer that can record squared gradient norms, from which gradient noise is measured.

    The norms are those of the unscaled gradients before clipping.
    """

    record_noise_scale: bool

    def apply(
        self,
        grads: Sequence[Tensor | None],
        trainable_variables: Sequence[Variable] | None = None,
    ) -> None:
        """Update variables with their gradients; see `keras.optimizers.Optimizer.apply`."""
        if self.record_noise_scale:
            self._check_parts(_backends.current().replicas())
        super().apply(grads, trainable_variables)

    def _check_parts(self, replicas: int) -> None:
        """Raise ValueError if the batch of an update has only one part."""
        if self._accumulation.most * replicas == 1:
            raise ValueError(
                "`record_noise_scale` must be False if the batch of an update has only one part: "
                "the noise is measured from the differences between parts. Set "
                "`gradient_accumulation_steps` to 2 or more, or, on TensorFlow, train under a "
                "strategy with several replicas. "
                "Received: record_noise_scale=True, "
                f"gradient_accumulation_steps={self.gradient_accumulation_steps}, 1 replica"
            )

    def _recorded_squares(self) -> dict[str | int, SquaredNorms]:
        """The squared norms of each variable at the last update; empty before the first one."""
        squares = self._update.squares
        assert squares is not None
        pairs = keras.ops.convert_to_numpy(squares.last).T
        return {
            key: SquaredNorms(float(of_parts), float(of_mean))
            for key, (of_parts, of_mean) in zip(self._trust_ratio_keys(), pairs)
            if of_parts != NEVER_UPDATED
        }

    def _sums_of_parts(self) -> Variable | None:
        squares = self._update.squares
        return None if squares is None else squares.parts

    def _add_squares(self, variables: Sequence[Variable]) -> Squares | None:
        """The variables that hold the squared norms, or None if these are not recorded."""
        if not self.record_noise_scale:
            return None
        backend, dtype = _backends.current(), dtype_of_record(variables)
        parts = None
        if self.gradient_accumulation_steps:
            with backend.per_replica_sum():
                parts = backend.add_unsaved_variable(
                    self,
                    keras.initializers.Zeros(),
                    shape=(len(variables) + 1,),
                    dtype=dtype,
                    name="squares_of_parts",
                )
        last = backend.add_unsaved_variable(
            self,
            keras.initializers.Constant(NEVER_UPDATED),
            shape=(2, len(variables)),
            dtype=dtype,
            name="squares",
        )
        return Squares(parts, last, backend.replicas())
