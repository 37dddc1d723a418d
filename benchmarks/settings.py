"""Settings that are flags as well: how their fields are declared, and checked.

Nothing here needs Keras, so that a mistake in a flag is reported at once.
"""

import dataclasses
import math
import typing
from collections.abc import Collection, Sequence
from typing import Any

LARGEST = 2**31  # below it are all integers but a seed: updates are counted in 32 bits on JAX


class RecipeError(ValueError):
    """A training that cannot be: the message is one line, for the person who asked for it."""


def setting(
    help: str,
    default: Any = dataclasses.MISSING,
    *,
    choices: Collection[str] = (),
    minimum: float = 0,
    below: float = math.inf,
) -> Any:
    """A field of `FlagSettings`.

    Args:
        help: Of the flag.
        default: The field has to be given if there is none.
        choices: What a text may be, or each of several; anything by default.
        minimum: The smallest number.
        below: What a number must be less than.
    """
    metadata = {"help": help, "choices": choices, "minimum": minimum, "below": below}
    return dataclasses.field(default=default, metadata=metadata)


def kind_of(field: dataclasses.Field) -> tuple[type, bool]:
    """What a field holds: `(int, True)` of one that is `tuple[int, ...] | None`.

    Returns:
        The type, of each value if there are several; and whether there may be several.
    """
    kind, several = field.type, False
    while arguments := typing.get_args(kind):
        several |= typing.get_origin(kind) in (tuple, Sequence)
        kind = arguments[0]
    return typing.cast(type, kind), several


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlagSettings:
    """A dataclass of fields made by `setting`, which are checked unless they are None.

    Raises:
        RecipeError: If a field breaks its rule.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for one in value if isinstance(value, (list, tuple)) else [value]:
                if rule := _broken_rule(field, one):
                    raise RecipeError(f"--{field.name} must be {rule}. Received: {one}")


def _broken_rule(field: dataclasses.Field, value: Any) -> str | None:
    choices, minimum, below = (field.metadata[name] for name in ("choices", "minimum", "below"))
    kind, _ = kind_of(field)
    if value is None:
        return None
    if choices:
        return None if value in choices else f"one of {', '.join(choices)}"
    if kind is bool:
        return None if isinstance(value, bool) else "true or false"
    if kind not in (int, float):
        return None
    limit = LARGEST if kind is int and below == math.inf else below
    if minimum <= value < limit:
        return None
    rule = f"{'a finite number of ' * (kind is float)}at least {minimum:g}"
    return rule if value < minimum and below == math.inf else f"{rule} and below {limit:.10g}"
