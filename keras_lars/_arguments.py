"""Checks of arguments. Errors say, as in Keras, what an argument must be and what was received."""

import inspect
import math
import numbers
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any, TypeGuard

import keras
import numpy as np

from keras_lars._types import Array, Variable
from keras_lars._variables import described
from keras_lars._words import LONGEST, shortened

Check = Callable[[str, object], Any]

# The largest counts: `iterations` is int64, but int32 on JAX.
LARGEST_INTEGER = 2**63 - 1
LARGEST_STEP = 2**31 - 1

# Updates are computed in float32, where a larger number is infinite.
_LARGEST_FLOAT = (2 - 2**-23) * 2.0**127


def shown(value: object) -> str:
    """`repr` of a value, shortened if it is long. Never raises, unlike `repr` of a huge integer."""
    if isinstance(value, int) and value.bit_length() > 4 * LONGEST:
        return f"an integer of about {value.bit_length() * math.log10(2):.0f} digits"
    try:
        text = described(value)
    except Exception:  # from the `__repr__` of a user's class
        text = f"an object of {type(value)}"
    return shortened(text)


def refusal(name: str, must_be: str, value: object) -> ValueError:
    """The error for an argument that is not what it must be."""
    return ValueError(f"`{name}` must be {must_be}. Received: {name}={shown(value)}")


def _is_number(value: object) -> TypeGuard[float]:
    # NumPy's scalars count. bool does not, although it is an integer in Python.
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_array(value: object) -> TypeGuard[Array]:
    return hasattr(value, "dtype") and not _is_number(value)


def _as_float(value: object) -> float:
    """The value as a float; NaN if it is not a number, or not finite as a float32."""
    if not _is_number(value):
        return math.nan
    try:
        converted = float(value)
    except OverflowError:  # an integer or a fraction
        return math.nan
    return converted if abs(converted) <= _LARGEST_FLOAT else math.nan


def _unless_too_large(value: object) -> str:
    """What an error adds for a finite number that is too large for a float32."""
    is_too_large = _is_number(value) and _LARGEST_FLOAT < value < math.inf
    return f" and <= {_LARGEST_FLOAT:.2g}, which is the largest float32" if is_too_large else ""


def number(
    *,
    positive: bool = False,
    below: float = math.inf,
    at_most: float = math.inf,
    none: bool = False,
) -> Check:
    """A check for a finite number that is not negative, or, with `none`, None.

    The number must be finite as a float32, the type that updates are computed in: at most 3.4e38.
    The check returns it as a float.
    """
    must_be = f"a finite number {'>' if positive else '>='} 0"
    must_be += f" and < {below:g}" if below < math.inf else ""
    must_be += f" and <= {at_most:g}" if at_most < math.inf else ""
    must_be += ", or None" if none else ""

    def check(name: str, value: object) -> float | None:
        if value is None and none:
            return None
        converted = _as_float(value)
        # NaN fails both comparisons. A tiny negative number may be 0 as a float.
        is_good = 0 < converted < below if positive else 0 <= converted < below
        if not is_good or converted > at_most or not _is_number(value) or value < 0:
            raise refusal(name, must_be + _unless_too_large(value), value)
        return converted

    return check


def integer(
    *,
    minimum: int,
    maximum: int = LARGEST_INTEGER,
    none: bool = False,
    text: str | None = None,
    otherwise: str = "",
) -> Check:
    """A check for an integer from `minimum` to `maximum`, the string `text`, or, with `none`, None.

    `otherwise` tells the error what else is allowed; that is checked elsewhere.
    """
    must_be = f"{'' if text is None else f'{text!r} or '}an integer >= {minimum}"
    or_else = [*([otherwise] if otherwise else []), *(["None"] if none else [])]
    or_none = "".join(f", or {each}" for each in or_else)

    def check(name: str, value: object) -> int | str | None:
        if (value is None and none) or (isinstance(value, str) and value == text):
            return value
        if not _is_integer(value) or value < minimum:
            raise refusal(name, must_be + or_none, value)
        if value > maximum:
            raise refusal(name, f"{must_be} and <= {maximum}{or_none}", value)
        return int(value)

    return check


def one_of(*choices: Any) -> Check:
    """A check for one of the choices. The type must match as well."""

    def check(name: str, value: object) -> Any:
        for choice in choices:
            if type(value) is type(choice) and value == choice:
                return value
        raise refusal(name, "one of " + ", ".join(repr(c) for c in choices), value)

    return check


def learning_rate(name: str, value: object, tensors: bool = True) -> Any:
    """A number as a float. Schedules, callables and, with `tensors`, scalars stay as they are."""
    if isinstance(value, type):
        raise refusal(name, "a number or a schedule, not a class", value)
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return value
    if _holds_parameters(value):
        must_be = "a number or a schedule. Parameters are not an argument: `compile`, `build` or "
        raise refusal(name, must_be + "`apply` supplies the variables", value)
    if callable(value) and not hasattr(value, "dtype"):
        if not can_be_called(value, 0):
            must_be = "a number, a schedule or a callable without arguments. Put a function of the "
            must_be += "step into a subclass of `LearningRateSchedule`, as `__call__(self, step)`"
            raise refusal(name, must_be, value)
        return value
    if _is_array(value):
        if not tensors or not _has_real_numbers(value) or value.shape != ():
            must_be = "a real scalar" if tensors else "a number (not a tensor or variable)"
            raise refusal(name, f"{must_be}, a schedule or a callable", value)
        return value
    converted = _as_float(value)
    if not _is_number(value) or not converted >= 0 or value < 0:
        must_be = f"a finite number >= 0{_unless_too_large(value)}, a `LearningRateSchedule`, or a "
        raise refusal(name, f"{must_be}callable without arguments{_instead(value)}", value)
    return converted


def returned_rate(function: object, value: object) -> Any:
    """The learning rate that a schedule or callable returned.

    The value of a tensor is not read: a compiled step has none, and a GPU would have to be waited
    for.
    """
    if not _may_be_rate(value):
        raise ValueError(
            "`learning_rate` must be a schedule or callable that returns a finite number >= 0, "
            f"which may be a scalar tensor. Received: learning_rate={shown(function)}, which "
            f"returns {shown(value)}"
        )
    return value


def _may_be_rate(value: object) -> bool:
    if _is_array(value):
        is_scalar = value.shape == () or getattr(value.shape, "rank", 0) is None
        if not is_scalar or not _has_real_numbers(value):
            return False
        if not isinstance(value, np.ndarray):
            return True
        value = value.item()
    return _as_float(value) >= 0


def _instead(value: object) -> str:
    """What the error adds for an optimizer or a scheduler, which others take in this place."""
    if hasattr(value, "apply_gradients") or hasattr(value, "param_groups"):
        return ". `LARS` is a complete optimizer and wraps no other"
    if hasattr(value, "optimizer"):  # a scheduler of torch
        return ". Assign the rate of a scheduler to `learning_rate` before each update"
    return ""


def _holds_parameters(value: object, depth: int = 0) -> bool:
    """Whether the value is a module, a layer or a model, or parameters as torch takes them."""
    if isinstance(value, list | tuple | dict):
        parts = value.values() if isinstance(value, dict) else value
        # At most a list of groups, with lists of parameters.
        return depth < 3 and any(_holds_parameters(part, depth + 1) for part in parts)
    is_module = hasattr(value, "trainable_variables") or hasattr(value, "named_parameters")
    return is_module or inspect.isgenerator(value) or (depth > 0 and _is_array(value))


def step(name: str, value: object) -> Any:
    """The number of an update, as a tensor."""
    must_be = "a finite number below 2**63, or a tensor of numbers"
    if _is_number(value):
        if not abs(value) <= LARGEST_INTEGER:
            raise refusal(name, must_be, value)
        if isinstance(value, numbers.Integral):
            try:  # `int`, because TensorFlow cannot subtract from a uint64
                return keras.ops.convert_to_tensor(int(value))
            except OverflowError:  # JAX counts in 32 bits
                raise refusal(name, "an integer that the backend can hold", value) from None
        return keras.ops.convert_to_tensor(value if hasattr(value, "dtype") else float(value))
    if not _is_array(value) or not _has_real_numbers(value):
        raise refusal(name, must_be, value)
    return keras.ops.convert_to_tensor(value)


def _has_real_numbers(array: Array) -> bool:
    return any(kind in str(array.dtype) for kind in ("float", "int"))  # e.g. "bfloat16", "uint8"


def can_be_called(function: Callable[..., Any], count: int) -> bool:
    """Whether the function accepts `count` arguments; True if its signature is unknown."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # some functions written in C have no signature
        return True
    return True


# An empty alternative, possibly after flags such as "(?i)".
_EMPTY = re.compile(r"^(\(\?[a-zA-Z]+\))?(\||$)|(?<!\\)\|(\||$)")


def pattern(name: str, value: object) -> None:
    """Check a regular expression. An empty alternative is refused: it would match every path."""
    if not isinstance(value, str):
        raise refusal(name, "a string with a regular expression", value)
    try:
        matches_nothing = re.compile(value).fullmatch("") is not None
    except (re.error, RecursionError, OverflowError) as error:
        must_be = f"a regular expression ({shortened(str(error))})"
        raise refusal(name, must_be, value) from error
    if matches_nothing and _EMPTY.search(value):
        must_be = "a regular expression without an empty alternative, which matches every path"
        raise refusal(name, must_be, value)


def name_of_optimizer(name: str, value: object) -> str | None:
    """A name that can be the first part of a variable's path, or None."""
    if value is None or (isinstance(value, str) and "/" not in value and is_one_line(value)):
        return value
    raise refusal(name, "a string of one line without '/', or None", value)


def is_one_line(text: str) -> bool:
    """Whether the text fits on one line and can be encoded as UTF-8."""
    return text.isprintable()


def variables(name: str, value: Any) -> list[Variable]:
    """A list of Keras variables or of TensorFlow's own. Tensors of torch have no name."""
    is_one_thing = hasattr(value, "dtype") or isinstance(value, str | bytes | dict)
    try:
        found = None if is_one_thing else list(value)
    except TypeError:
        found = None
    if found is None or not all(map(_is_variable, found)):
        must_be = "a list of Keras variables"
        if any(hasattr(each, "requires_grad") for each in found or []):
            must_be += ". Wrap a torch module in `keras.layers.TorchModuleWrapper`"
        raise refusal(name, must_be, value)
    return found


def _is_variable(value: object) -> bool:
    return hasattr(value, "shape") and getattr(value, "name", None) is not None


def path(name: str, value: Any) -> pathlib.Path:
    """A string or path-like object as a `pathlib.Path` that the file system accepts."""
    try:
        text = os.fspath(value)
    except TypeError:
        text = None
    if not isinstance(text, str) or not text:
        raise refusal(name, "a path: a non-empty string or a `pathlib.Path`", value)
    try:
        os.stat(text)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError) as error:  # e.g. too long, or a loop of links
        why = getattr(error, "strerror", None) or str(error)
        raise refusal(name, f"a path that the system accepts ({why})", value) from error
    return pathlib.Path(text)


def folder(name: str, value: Any) -> pathlib.Path:
    """The path of a folder that exists or can be created."""
    found = path(name, value)
    # A parent that this process may not look into counts as missing, which does no harm here.
    nearest = next(p for p in [found, *found.absolute().parents] if os.path.exists(p))
    if not nearest.is_dir():
        raise ValueError(
            f"`{name}` must name a folder. Received a file: {name}={shown(os.fspath(value))}"
        )
    return found
