"""`repr` of an optimizer: the call that makes it, with what differs from the defaults."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any


@functools.cache
def defaults(kind: type) -> dict[str, Any]:
    """The named arguments of a class, with their defaults."""
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}


def call(instance: object, arguments: Callable[[], Iterable[str]]) -> str:
    """The call as text. Never raises, because errors quote it, even those of `__init__`."""
    try:
        return f"{type(instance).__name__}({', '.join(arguments())})"
    except Exception:
        return object.__repr__(instance)


def differing(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """`name=value` for each value that is not the default."""
    return [
        f"{name}={_written(value)}" for name, value in values.items() if value != defaults[name]
    ]


def _written(value: object) -> str:
    """The value as a user would write it: a list of one rule as the rule."""
    if isinstance(value, tuple):
        return repr(value[0] if len(value) == 1 else list(value))
    return repr(value)
