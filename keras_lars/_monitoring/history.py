"""A record as arrays: a row for each variable in the model's order, a column for each update."""

import collections
import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from keras_lars import _arguments
from keras_lars._monitoring import record
from keras_lars._monitoring import variables as described
from keras_lars._monitoring.record import Row
from keras_lars._monitoring.variables import Description, Variable

_QUANTITIES = ("weight_norm", "gradient_norm", "trust_ratio", "learning_rate")


@dataclasses.dataclass(frozen=True)
class History:
    """What was recorded. Arrays are [variable, update], NaN where nothing was recorded."""

    description: Description | None
    variables: list[Variable]
    updates: np.ndarray  # shape=(updates,), ascending
    epochs: np.ndarray  # shape=(updates,)
    is_recorded: np.ndarray
    weight_norm: np.ndarray
    gradient_norm: np.ndarray
    trust_ratio: np.ndarray
    learning_rate: np.ndarray

    @property
    def local_learning_rate(self) -> np.ndarray:
        """The factor by which the gradient of each variable is multiplied."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(self.learning_rate * self.trust_ratio)

    @property
    def global_learning_rate(self) -> np.ndarray:
        """The learning rate of each update, the same for all variables. shape=(updates,)"""
        first = np.argmax(self.is_recorded, axis=0)
        return np.asarray(self.learning_rate[first, np.arange(len(self.updates))])

    @property
    def unadapted(self) -> list[int]:
        """The positions of variables that are known to be excluded from adaptation."""
        return [i for i, variable in enumerate(self.variables) if variable.adapted is False]

    @property
    def adapted(self) -> list[int]:
        """The positions of all other variables."""
        return [i for i, variable in enumerate(self.variables) if variable.adapted is not False]

    def thinned(self, kept: Sequence[int], most: int = 500) -> "History":
        """At most `most` evenly spaced updates, and those in `kept`, for drawing."""
        evenly = np.linspace(0, len(self.updates) - 1, most).round().astype(int)
        columns = np.union1d(evenly, np.searchsorted(self.updates, np.array(kept, int)))
        by_update = {
            name: getattr(self, name)[..., columns]
            for name in ("updates", "epochs", "is_recorded", *_QUANTITIES)
        }
        return dataclasses.replace(self, **by_update)


def read(path: pathlib.Path) -> History:
    """The record in a file, with the `variables.json` beside it if there is one.

    Raises:
        ValueError: If the file is not such a record, or has other variables than those described.
    """
    rows = record.read(path, record.TRUST_RATIOS)
    description = described.read(path.parent)
    if description is not None:
        known = {variable.key for variable in description.variables}
        rows = _with_present_names(rows, known)
        unknown = [row.variable for row in rows if row.variable not in known]
        if unknown:
            raise ValueError(
                f"`run` must be a record of the variables that its {described.NAME} describes. "
                f"Received: {path} with another variable, {_arguments.shown(unknown[0])}"
            )
    return of_rows(rows, description)


def _with_present_names(rows: Sequence[Row], known: set[str]) -> list[Row]:
    """The rows, with the names of the last update where earlier ones have others.

    A network that is built or loaded again has the same variables in the same order, but a kernel
    may be called `dense_2/kernel` in place of `dense/kernel`.
    """
    by_update: dict[int, list[Row]] = collections.defaultdict(list)
    for row in rows:
        by_update[row.update].append(row)
    last = by_update[max(by_update)]
    renamed: list[Row] = []
    for group in by_update.values():
        is_known = all(row.variable in known for row in group)
        if not is_known and _last_parts(group) == _last_parts(last):
            group = [old._replace(variable=new.variable) for old, new in zip(group, last)]
        renamed += group
    return renamed


def _last_parts(rows: Sequence[Row]) -> list[str]:
    return [str(row.variable).rpartition("/")[2] for row in rows]


def of_rows(rows: Sequence[Row], description: Description | None) -> History:
    """The rows as arrays. Without a description the variables are those of the rows, in order.

    If a variable has several rows for one update, the last one counts.
    """
    if description is None:
        variables = [Variable(key, key) for key in dict.fromkeys(str(row.variable) for row in rows)]
    else:
        variables = description.variables
    position = {variable.key: i for i, variable in enumerate(variables)}
    updates = np.array(sorted({row.update for row in rows}))
    column = {int(update): j for j, update in enumerate(updates)}
    epochs = np.full(len(updates), np.nan)
    shape = (len(variables), len(updates))
    is_recorded = np.zeros(shape, bool)
    arrays = {name: np.full(shape, np.nan) for name in _QUANTITIES}
    for row in rows:
        i, j = position[str(row.variable)], column[row.update]
        epochs[j], is_recorded[i, j] = row.epoch, True
        for name, array in arrays.items():
            array[i, j] = getattr(row, name)
    return History(description, variables, updates, epochs, is_recorded, **arrays)
