"""Checks of arguments, in the words of Keras: the argument, the rule, what was received."""

import math
import numbers
from collections.abc import Callable
from typing import Any

from keras_lars._variables import described

Check = Callable[[str, Any], Any]


def _refuse(name: str, rule: str, value: Any) -> ValueError:
    return ValueError(f"`{name}` must be {rule}. Received: {name}={described(value)}")


def _is_number(value: Any) -> bool:
    # numpy's scalars count, and bool, which Python counts as an integer, does not.
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def number(
    *,
    positive: bool = False,
    below: float = math.inf,
    at_most: float = math.inf,
    none: bool = False,
) -> Check:
    """A finite number, not negative, as a float; None too where `none`."""
    rule = f"a finite number {'>' if positive else '>='} 0"
    rule += f" and < {below:g}" if below < math.inf else ""
    rule += f" and <= {at_most:g}" if at_most < math.inf else ""
    rule += ", or None" if none else ""

    def check(name: str, value: Any) -> float | None:
        if value is None and none:
            return None
        if not _is_number(value) or not math.isfinite(value):
            raise _refuse(name, rule, value)
        if value < 0 or (positive and value == 0) or value >= below or value > at_most:
            raise _refuse(name, rule, value)
        return float(value)

    return check


def integer(*, minimum: int, none: bool = False) -> Check:
    """An integer of at least `minimum`; None too where `none`."""
    rule = f"an integer >= {minimum}" + (", or None" if none else "")

    def check(name: str, value: Any) -> int | None:
        if value is None and none:
            return None
        is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not is_integer or value < minimum:
            raise _refuse(name, rule, value)
        return int(value)

    return check


def one_of(*choices: Any) -> Check:
    """One of the choices, of the same type as the choice."""

    def check(name: str, value: Any) -> Any:
        for choice in choices:
            if type(value) is type(choice) and value == choice:
                return value
        raise _refuse(name, "one of " + ", ".join(repr(c) for c in choices), value)

    return check


def learning_rate(name: str, value: Any) -> Any:
    """A number, as a float; schedules, callables and tensors as they are."""
    if callable(value) or (hasattr(value, "dtype") and not _is_number(value)):
        return value
    if not _is_number(value) or not math.isfinite(value) or value < 0:
        rule = "a finite number >= 0, a `LearningRateSchedule`, or a callable without arguments"
        raise _refuse(name, rule, value)
    return float(value)
