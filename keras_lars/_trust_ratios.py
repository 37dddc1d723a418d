"""Records the norms and the trust ratio of each variable's last update."""

import collections
from collections.abc import Sequence
from typing import NamedTuple

import keras

from keras_lars import _backends
from keras_lars._backends.bookkeeping import NEVER_UPDATED
from keras_lars._keras.optimizer import KerasOptimizer
from keras_lars._types import Variable
from keras_lars._update_rule import compute_dtype


class TrustRatio(NamedTuple):
    """One variable at its last update: |w|, the gradient norm in the formula, and the ratio."""

    weight_norm: float
    gradient_norm: float
    trust_ratio: float


class RecordingOptimizer(KerasOptimizer):
    """An optimizer that can record the norms and ratio of each variable's last update."""

    record_trust_ratios: bool

    @property
    def trust_ratios(self) -> dict[str | int, TrustRatio]:
        """The norms and the ratio of each variable at its last update, by path.

        Use it to inspect single updates. It requires `record_trust_ratios=True`. Variables that
        share a path have their position as the key. Variables that were never updated are left out.

        Raises:
            ValueError: If `record_trust_ratios` is `False`, or before the first update.

        Example:

        >>> optimizer = keras_lars.LARS(record_trust_ratios=True, weight_decay=0)
        >>> w = keras.Variable([3.0, 4.0], name="w")
        >>> optimizer.apply([keras.ops.array([0.0, 0.5])], [w])
        >>> ratio = optimizer.trust_ratios["w"]
        >>> ratio.weight_norm, ratio.gradient_norm, round(ratio.trust_ratio, 4)
        (5.0, 0.5, 0.01)
        """
        if not self.record_trust_ratios:
            raise ValueError(
                "`trust_ratios` needs `record_trust_ratios=True` in the constructor. "
                "Received: record_trust_ratios=False"
            )
        self._require_built("trust_ratios")
        ratios = self._recorded_ratios()
        if not ratios:
            raise ValueError("`trust_ratios` needs an update first. Received: no update yet")
        return ratios

    def _recorded_ratios(self) -> dict[str | int, TrustRatio]:
        """Like `trust_ratios`, but empty before the first update."""
        rows = keras.ops.convert_to_numpy(self._update.record)
        return {
            key: TrustRatio(*(float(x) for x in row))
            for key, row in zip(self._trust_ratio_keys(), rows)
            if row[0] != NEVER_UPDATED
        }

    def _trust_ratio_keys(self) -> list[str | int]:
        """The keys of `trust_ratios`: paths, or positions for variables that share a path."""
        paths = [row.path for row in self._update.table]
        counts = collections.Counter(paths)
        return [path if counts[path] == 1 else i for i, path in enumerate(paths)]

    def _add_record(self, variables: Sequence[Variable]) -> keras.Variable | None:
        """The variable that holds the norms and ratios, or None if these are not recorded."""
        if not self.record_trust_ratios:
            return None
        return _backends.current().add_unsaved_variable(
            self,
            keras.initializers.Constant(NEVER_UPDATED),
            shape=(len(variables), 3),
            dtype=dtype_of_record(variables),
            name="trust_ratios",
        )


def dtype_of_record(variables: Sequence[Variable]) -> str:
    """The widest dtype in which an update of these variables is computed."""
    dtypes = {compute_dtype(keras.backend.standardize_dtype(v.dtype)) for v in variables}
    return "float64" if "float64" in dtypes else "float32"
