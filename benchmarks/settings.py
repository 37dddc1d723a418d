"""Settings that are also flags: how their fields are declared and checked.

Needs no Keras, so a wrong flag is reported at once.
"""

import dataclasses
import math
import typing
from collections.abc import Collection, Sequence
from typing import Any

# All numbers must be below these, except seeds: JAX counts updates in 32 bits, and float32 ends.
LARGEST = {int: 2**31, float: 3.4e38}


class RecipeError(ValueError):
    """Something impossible was asked for. The message is one line for the user."""


def setting(
    help: str,
    default: Any = dataclasses.MISSING,
    *,
    choices: Collection[str] = (),
    minimum: float = 0,
    below: float = math.inf,
) -> Any:
    """Declares a field of `FlagSettings`, with the help text of its flag and the allowed values.

    A field without a default is required.
    """
    metadata = {"help": help, "choices": choices, "minimum": minimum, "below": below}
    return dataclasses.field(default=default, metadata=metadata)


def kind_of(field: dataclasses.Field) -> tuple[type, bool]:
    """The type of one value, and whether there are several: `(int, True)` for `tuple[int, ...]`."""
    kind, several = field.type, False
    while arguments := typing.get_args(kind):
        several |= typing.get_origin(kind) in (tuple, Sequence)
        kind = arguments[0]
    return typing.cast(type, kind), several


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlagSettings:
    """A dataclass with fields declared by `setting`. Raises RecipeError if one is not allowed.

    None is always allowed.
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
    limit = LARGEST[kind] if below == math.inf else below
    if minimum <= value < limit:
        return None
    rule = f"{'a finite number of ' * (kind is float)}at least {minimum:g}"
    return rule if value < minimum and below == math.inf else f"{rule} and below {limit:.10g}"
