"""A record as arrays: a row for each variable in the order of the model, a column an update."""

import dataclasses
import os
import pathlib

import numpy as np

from keras_lars import _arguments
from keras_lars._monitoring import variables as described
from keras_lars._monitoring.variables import Description, Variable
from keras_lars.report import _rows

FILES = ("trust_ratios.csv", "trust_ratios.jsonl")
_QUANTITIES = ("weight_norm", "gradient_norm", "trust_ratio", "learning_rate")


@dataclasses.dataclass(frozen=True)
class Record:
    """What was recorded. Arrays are [variable, update], NaN where nothing was recorded."""

    path: pathlib.Path
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
        """What a variable's gradient is multiplied by."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.learning_rate * self.trust_ratio

    @property
    def global_learning_rate(self) -> np.ndarray:
        """That of each update, which is the same for all variables. shape=(updates,)"""
        first = np.argmax(self.is_recorded, axis=0)
        return self.learning_rate[first, np.arange(len(self.updates))]

    @property
    def unadapted(self) -> list[int]:
        """Where in the arrays the variables are that are known to be excluded from adaptation."""
        return [i for i, variable in enumerate(self.variables) if variable.adapted is False]

    @property
    def adapted(self) -> list[int]:
        """All others."""
        return [i for i, variable in enumerate(self.variables) if variable.adapted is not False]


def locate(run: str | os.PathLike) -> pathlib.Path:
    """The file that holds the record of a run: the CSV file, where there are both.

    Raises:
        ValueError: If there is none.
    """
    path = _arguments.path("run", run)
    if path.is_file():
        return path
    if not path.is_dir():
        raise _arguments.refusal("run", "a folder or a file that is there", str(path))
    for name in FILES:
        if (path / name).is_file():
            return path / name
    raise ValueError(
        f"`run` must be a folder with {' or '.join(FILES)} in it. Received: {path}, without them"
    )


def read(path: pathlib.Path) -> Record:
    """The record in a file, with the `variables.json` beside it if there is one.

    Where a variable has several rows of one update, the last of them counts.

    Raises:
        ValueError: If the file is not such a record, or is not about the variables described.
    """
    rows = _rows.read(path)
    description = described.read(path.parent)
    if description is None:
        keys = dict.fromkeys(row.variable for row in rows)
        variables = [Variable(key, key) for key in keys]
    else:
        variables = description.variables
    position = {variable.key: i for i, variable in enumerate(variables)}
    for row in rows:
        if row.variable not in position:
            raise ValueError(
                f"`run` must be a record of the variables that its {described.NAME} describes. "
                f"Received: {path} with another variable, {_arguments.shown(row.variable)}"
            )

    updates = np.array(sorted({row.update for row in rows}))
    column = {int(update): j for j, update in enumerate(updates)}
    epochs = np.full(len(updates), np.nan)
    shape = (len(variables), len(updates))
    is_recorded = np.zeros(shape, bool)
    arrays = {name: np.full(shape, np.nan) for name in _QUANTITIES}
    for row in rows:
        i, j = position[row.variable], column[row.update]
        epochs[j], is_recorded[i, j] = row.epoch, True
        for name, array in arrays.items():
            array[i, j] = getattr(row, name)
    return Record(path, description, variables, updates, epochs, is_recorded, **arrays)
