"""What a backup holds: variables, their names, their values, and the kind of optimizer."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_lars import _replicas
from keras_lars._keras.saved_state import StatefulOptimizer, rate_of
from keras_lars._model_state import optimizers_of, sums_of_parts, wrapped
from keras_lars.callbacks._backup_file import Arrays, Spec


class Saved(NamedTuple):
    """One variable, and its name in the backup."""

    name: str
    variable: keras.Variable

    @property
    def value(self) -> tf.Variable:
        return self.variable.value


def variables_of(model: keras.Model) -> dict[str, list[Saved]]:
    """The saved variables by kind. "shared" ones have one value, the others one for each replica.

    "record", the sums between two updates, is there only if noise is measured.
    """
    optimizers = optimizers_of(model)
    of_optimizers = list({id(v): v for each in optimizers for v in each.variables}.values())
    trainable = {id(variable) for variable in model.trainable_variables}
    in_optimizers = set(map(id, of_optimizers))
    names = dict(zip(map(id, model.variables), _comparable(v.path for v in model.variables)))
    names |= _names_of_slots(of_optimizers, model.trainable_variables, names)
    variables: dict[str, list[Saved]] = {"shared": [], "replica": []}
    for variable in [*model.variables, *of_optimizers]:
        on_read = variable.value.synchronization == tf.VariableSynchronization.ON_READ
        is_shared = id(variable) in trainable | in_optimizers and not on_read
        saved = Saved(names[id(variable)], variable)
        variables["shared" if is_shared else "replica"].append(saved)
    metrics = model.metrics_variables
    variables["metric"] = list(map(Saved, _comparable(v.path for v in metrics), metrics))
    if sums := [each for optimizer in optimizers for each in sums_of_parts(optimizer)]:
        variables["record"] = [Saved("squares_of_parts", each) for each in sums]
    return variables


def specs(variables: Iterable[Saved], replicas: int | None) -> list[Spec]:
    """What the arrays look like in a backup of this many replicas; None for shared variables."""
    first = () if replicas is None else (replicas,)
    return [
        Spec(name, (*first, *variable.shape), variable.value.dtype.as_numpy_dtype)
        for name, variable in variables
    ]


def read(
    variables: dict[str, list[Saved]], strategy: tf.distribute.Strategy, is_chief: bool
) -> Arrays:
    """The values; only the chief reads shared ones. All workers must call it together."""
    arrays = {
        kind: _replicas.read_all([each.value for each in variables[kind]], strategy)
        for kind in variables
        if kind != "shared"
    }
    if is_chief:
        arrays["shared"] = [_replicas.read(each.value, strategy) for each in variables["shared"]]
    return arrays


def write(
    variables: dict[str, list[Saved]],
    arrays: Arrays,
    strategy: tf.distribute.Strategy,
    kept: Sequence[keras.Variable] = (),
) -> None:
    """Assign values to the variables of some kinds, except to those in `kept`."""
    for kind, values in arrays.items():
        tensors = [each.value for each in variables[kind]]
        if kind != "shared":
            _replicas.write_all(tensors, values, strategy)
            continue
        for each, value in zip(variables[kind], values):
            if not any(each.variable is variable for variable in kept):
                _replicas.write(each.value, value, strategy)


def for_replicas(variable: tf.Variable, rows: np.ndarray, replicas: int) -> np.ndarray:
    """The values of some replicas, converted to another number of replicas.

    Args:
        variable: The variable. If its value is read as a sum over replicas, as that of an
            accumulator is, the sum stays the same. Other floats are averaged.
        rows: Array of shape (replicas before, *shape).
        replicas: Integer, the present number of replicas.
    """
    shape = (replicas, *rows.shape[1:])
    if variable.aggregation == tf.VariableAggregation.SUM:
        values = np.zeros(shape, np.float64)
        values[0] = rows.astype(np.float64).sum(axis=0)
        return values.astype(rows.dtype)
    if variable.dtype.is_floating:
        return np.broadcast_to(rows.astype(np.float64).mean(axis=0), shape).astype(rows.dtype)
    return np.array(np.broadcast_to(rows[0], shape))  # seed generators


def check_built(model: keras.Model) -> None:
    """Raise ValueError if the model keeps an optimizer that is built in a step, too late here."""
    of_compile = getattr(model, "optimizer", None)
    for each in optimizers_of(model):
        if each is not of_compile and not each.built:
            raise ValueError(
                "`BackupAndRestore` needs every optimizer that the model keeps itself to be built "
                f"before `fit`: call `build(variables)`. Received: {each!r}, which is not built"
            )


def name_of_optimizers(model: keras.Model) -> str:
    """The optimizers' classes and those that they wrap. Slots of others may have equal shapes."""
    return ", ".join(
        " of ".join(type(each).__name__ for each in wrapped(optimizer))
        for optimizer in optimizers_of(model)
    )


def updating_optimizer(model: keras.Model) -> keras.optimizers.Optimizer | None:
    """The innermost optimizer of `compile`. Wrappers have a learning rate without effect."""
    return next(iter(reversed(wrapped(model.optimizer))), None)


def state_of_optimizer(
    optimizer: keras.optimizers.Optimizer | None,
) -> dict[str, str | int] | None:
    """What the numbers in the slots of LARS mean, or None for a Keras optimizer."""
    return optimizer._state_meaning() if isinstance(optimizer, StatefulOptimizer) else None


def constant_rate(optimizer: keras.optimizers.Optimizer | None) -> keras.Variable | None:
    """The variable that holds the learning rate, or None with a schedule or callable."""
    variables = [] if optimizer is None else optimizer.variables
    return next((each for each in variables if each.name == "learning_rate"), None)


def schedule(optimizer: keras.optimizers.Optimizer | None) -> str | None:
    """The configuration of the learning-rate schedule as JSON; None if there is none to compare."""
    rate = None if optimizer is None else rate_of(optimizer)
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return None
    try:
        return json.dumps({type(rate).__name__: rate.get_config()}, sort_keys=True)
    except Exception:  # a user's own schedule may have no configuration, or one that is no JSON
        return None


def _comparable(paths: Iterable[str]) -> list[str]:
    """Names that are the same when the same script runs again, even in the same process.

    Keras never restarts the numbers of layers, so each number is replaced by its rank. Paths start
    with the model's name only for some models, so only layer and variable are used.
    """
    split = [[_name_and_number(part) for part in path.split("/")[-2:]] for path in paths]
    numbers: dict[str, set[int]] = {}
    for parts in split:
        for name, number in parts:
            numbers.setdefault(name, set()).add(number)
    return ["/".join(_ranked(name, number, numbers) for name, number in parts) for parts in split]


def _name_and_number(part: str) -> tuple[str, int]:
    found = re.search(r"_(\d+)\Z", part)
    return (part[: found.start()], int(found[1])) if found else (part, 0)


def _ranked(name: str, number: int, numbers: dict[str, set[int]]) -> str:
    rank = sorted(numbers[name]).index(number)
    return f"{name}_{rank}" if rank else name


def _names_of_slots(
    variables: Sequence[keras.Variable], trainable: Sequence[keras.Variable], names: dict[int, str]
) -> dict[int, str]:
    """Names of slots. They begin with the variable's name; in Keras they begin with its path."""
    of = {variable.path.replace("/", "_"): names[id(variable)] for variable in trainable}
    found = {}
    for variable in variables:
        words = variable.name.split("_")
        fronts = ("_".join(words[:end]) for end in range(len(words) - 1, 0, -1))
        front = next((front for front in fronts if front in of), None)
        if front is None:
            found[id(variable)] = re.sub(r"_\d+(?=_|$)", "", variable.name)
        else:
            found[id(variable)] = f"{of[front]}: {variable.name[len(front) + 1 :]}"
    return found
