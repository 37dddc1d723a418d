"""The table of which variables are adapted and which are decayed, made once, by `build`."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from keras_lars._exclusions import Exclusion
from keras_lars._types import Variable
from keras_lars._variables import is_overwritten, path_of, shape_of
from keras_lars._words import on_one_line


class VariableRow(NamedTuple):
    """How one variable is treated. The rules are those that exclude it, or empty strings."""

    position: int
    path: str
    shape: tuple[int, ...]
    adapted: bool
    adaptation_rule: str
    decayed: bool
    decay_rule: str


class VariableTable(tuple[VariableRow, ...]):
    """Rows of `VariableRow`, one for each trainable variable; `print` shows them as a table."""

    __slots__ = ()

    def __str__(self) -> str:
        lines = [("", "path", "shape", "adapted", "decayed")]
        for row in self:
            adapted = "yes" if row.adapted else f"no: {row.adaptation_rule}"
            decayed = "yes" if row.decayed else f"no: {row.decay_rule or 'weight_decay is 0'}"
            lines.append(
                (str(row.position), on_one_line(row.path), str(row.shape), adapted, decayed)
            )
        widths = [max(map(len, column)) for column in zip(*lines)]
        padded = ("  ".join(map(str.ljust, line, widths)) for line in lines)
        return "\n".join(line.rstrip() for line in padded)


def variable_table(
    variables: Sequence[Variable],
    adaptation_rules: Sequence[Exclusion],
    decay_rules: Sequence[Exclusion],
    weight_decay: float,
    frozen: Callable[[], Sequence[Variable]] = list,
) -> VariableTable:
    """Decide how each variable is treated. Raises ValueError if a rule matches no variable.

    `frozen` returns the model's untrained variables. It is called if a rule matches no trained one.
    """
    rules = {
        "exclude_from_layer_adaptation": adaptation_rules,
        "exclude_from_weight_decay": decay_rules,
    }
    adaptation, decay = (
        _excluded_by(argument, rules[argument], variables, frozen) for argument in rules
    )
    return VariableTable(
        VariableRow(
            position=i,
            path=path_of(variable),
            shape=shape_of(variable),
            adapted=not adaptation[i],
            adaptation_rule=adaptation[i],
            decayed=weight_decay > 0 and not decay[i],
            decay_rule=decay[i],
        )
        for i, variable in enumerate(variables)
    )


def _excluded_by(
    argument: str,
    rules: Sequence[Exclusion],
    variables: Sequence[Variable],
    frozen: Callable[[], Sequence[Variable]],
) -> list[str]:
    """For each variable, the text of the first rule that excludes it, or an empty string."""
    names = ["overwritten by Keras" if is_overwritten(v) else "" for v in variables]
    for rule in rules:
        for i, matched in enumerate(rule.match(argument, variables, frozen)):
            if matched and not names[i]:
                names[i] = str(rule)
    return names
