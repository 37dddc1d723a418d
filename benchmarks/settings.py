"""Settings that are flags as well: how their fields are declared, and checked.

Nothing here needs Keras, so that a mistake in a flag is reported at once.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

LARGEST = 2**31  # below it are all integers but a seed: updates are counted in 32 bits on JAX


class RecipeError(ValueError):
    """A training that cannot be: the message is one line, for the person who asked for it."""


def setting(
    help: str,
    default: Any = dataclasses.MISSING,
    *,
    choices: Sequence[str] = (),
    minimum: float = 0,
    below: float = math.inf,
) -> Any:
    """A field of `Settings`.

    Args:
        help: Of the flag.
        default: The field has to be given if there is none.
        choices: What a text may be; anything by default.
        minimum: The smallest number.
        below: What a number must be less than.
    """
    metadata = {"help": help, "choices": tuple(choices), "minimum": minimum, "below": below}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """A dataclass of fields made by `setting`, which are checked.

    Raises:
        RecipeError: If a field breaks its rule.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, limits = getattr(self, field.name), field.metadata
            minimum, below = limits["minimum"], limits["below"]
            if field.type is int and below == math.inf:
                below = LARGEST
            if limits["choices"]:
                is_good = value in limits["choices"]
                rule = f"one of {', '.join(limits['choices'])}"
            elif field.type is bool:
                is_good, rule = isinstance(value, bool), "true or false"
            elif field.type in (int, float):
                is_good = minimum <= value < below
                rule = "at least" if field.type is int else "a finite number of at least"
                rule += f" {minimum:g}"
                if limits["below"] < math.inf or (math.isfinite(below) and value >= below):
                    rule += f" and below {below:.10g}"
            else:  # a path, or several values
                continue
            if not is_good:
                raise RecipeError(f"--{field.name} must be {rule}. Received: {value}")
