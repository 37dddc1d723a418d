"""Parses the arguments that exclude variables into rules."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras

from keras_lars import _arguments, _chief
from keras_lars._exclusions import (
    Exclusion,
    FindVariables,
    bias_or_normalization,
    pattern,
    saved_variable,
)
from keras_lars._types import Variable
from keras_lars._variables import described, path_of
from keras_lars._words import shortened

# The callable takes a `keras.Variable`, as users will annotate their functions.
ExclusionRule: TypeAlias = str | Variable | Callable[[keras.Variable], bool] | Exclusion
ExclusionRules: TypeAlias = ExclusionRule | Sequence[ExclusionRule]


def parse(argument: str, exclusions: object) -> tuple[Exclusion, ...]:
    """The rules of an argument, which is one rule or a list of them."""
    if not isinstance(exclusions, (list, tuple)):
        exclusions = [exclusions]
    return tuple(_parse_one(argument, rule) for rule in exclusions)


def _parse_one(argument: str, rule: Any) -> Exclusion:
    given = rule
    if isinstance(rule, dict):  # from a configuration
        rule = _deserialized(argument, rule)
    if isinstance(rule, Exclusion):
        return rule
    if isinstance(rule, str):
        _arguments.pattern(argument, rule)
        return pattern(rule)
    # A Keras variable, or a backend's own.
    if all(hasattr(rule, name) for name in ("shape", "dtype", "name")):
        return _GivenVariable(rule)
    if isinstance(rule, keras.layers.Layer):  # also callable, with one argument
        must_be = "a rule or a list of rules. For a layer or model, pass its `trainable_variables`"
        raise _arguments.refusal(argument, must_be, given)
    is_function = callable(rule) and not isinstance(rule, type)
    if is_function and _arguments.can_be_called(rule, 1):
        return _GivenCallable(rule)
    raise _arguments.refusal(
        argument,
        "a rule or a list of rules: a regular expression on `variable.path`, a variable, a "
        "callable that takes a variable, `keras_lars.rank_at_most(n)`, "
        "`keras_lars.bias_or_normalization()` or `keras_lars.optional(pattern)`",
        given,
    )


def _deserialized(argument: str, saved: dict[str, Any]) -> Any:
    try:
        return keras.saving.deserialize_keras_object(saved)
    except (ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        must_be = f"a rule that Keras can load ({shortened(str(error))})"
        raise _arguments.refusal(argument, must_be, saved) from error


class _GivenVariable(Exclusion):
    """Excludes one variable. The wrapper keeps Keras from tracking it as the optimizer's own."""

    def __init__(self, variable: Variable):
        self.variable = variable
        self._saved: Exclusion | None = None

    def __call__(self, variable: Variable) -> bool:
        return variable is self.variable

    def match(
        self, argument: str, variables: Sequence[Variable], frozen: FindVariables = list
    ) -> list[bool]:
        matched = super().match(argument, variables)
        if not any(matched):
            is_frozen = not getattr(self.variable, "trainable", True)
            raise ValueError(
                f"`{argument}` must contain only variables that the optimizer is built with"
                f"{'; this one is frozen' if is_frozen else ''}. Received: "
                f"{argument}={described(self.variable)}, and the paths are "
                f"{[path_of(v) for v in variables]}"
            )
        return matched

    def save(self, argument: str, variables: Sequence[Variable] | None) -> Any:
        if variables is None:
            raise ValueError(
                f"`{argument}` must not contain a variable if `get_config` is called before the "
                "optimizer is built: a variable is saved as its position among the trainable "
                f"variables. Received: {argument}={described(self.variable)}"
            )
        position = self.match(argument, variables).index(True)
        saved = saved_variable(position, variables)
        # Kept alive, because Keras identifies the objects in a file by `id`: if this one were
        # deleted, the next rule could get its id, and would be loaded as this one.
        if self._saved != saved:
            self._saved = saved
        return self._saved.save(argument, variables)

    def __str__(self) -> str:
        return f"variable {path_of(self.variable)}"

    def __repr__(self) -> str:
        return f"<{self}>"


@functools.cache
def _unlike_text(kind: Any) -> type:
    """The class of a variable, without what rules for names do, such as `"bias" in name`.

    That would compare the text with one row after the other. It never ends on JAX, and is False on
    torch.
    """

    def equals(self: Any, other: object) -> Any:
        if isinstance(other, str):
            raise TypeError("a variable is not a string")
        return kind.__eq__(self, other)

    return type(kind.__name__, (kind,), {"__iter__": None, "__eq__": equals})


class _GivenCallable(Exclusion):
    """Excludes the variables for which a function or other callable returns True."""

    def __init__(self, function: Callable[[Variable], bool]):
        self.function = function

    def __call__(self, variable: Variable) -> bool:
        kind = type(variable)
        if not isinstance(variable, keras.Variable):
            return self.function(variable)
        object.__setattr__(variable, "__class__", _unlike_text(kind))
        try:
            return self.function(variable)
        finally:
            object.__setattr__(variable, "__class__", kind)

    def match(
        self, argument: str, variables: Sequence[Variable], frozen: FindVariables = list
    ) -> list[bool]:
        try:
            return super().match(argument, variables)
        except Exception as error:  # of a user's function
            raise ValueError(
                f"`{argument}` must hold callables that take a variable, not its name or path, and "
                'return True or False, such as `lambda variable: "bias" in variable.path`. '
                f"Received: {argument}={self}, which raises "
                f"{type(error).__name__}: {shortened(str(error))}"
            ) from error

    def save(self, argument: str, variables: Sequence[Variable] | None) -> Any:
        kind = self.function if hasattr(self.function, "__name__") else type(self.function)
        name = keras.saving.get_registered_name(kind)
        if keras.saving.get_registered_object(name) is not kind:
            raise ValueError(
                f"`{argument}` must hold callables that Keras can save: decorate this one with "
                "`@keras.saving.register_keras_serializable()`. "
                f"Received: {argument}={self}"
            )
        return keras.saving.serialize_keras_object(self.function)

    def __str__(self) -> str:
        return getattr(self.function, "__qualname__", None) or str(self.function)


def warn_if_mask(
    argument: str, rules: Sequence[Exclusion], variables: Sequence[Variable], excluded: list[bool]
) -> None:
    """Warn if the only rule is a callable that excludes exactly the kernels.

    It is probably a mask or filter of another implementation, which says what to include.
    """
    is_other = bias_or_normalization()
    if len(rules) != 1 or not isinstance(rules[0], _GivenCallable) or not any(excluded):
        return
    if all(excluded) or excluded != [not is_other(variable) for variable in variables]:
        return
    paths = [path_of(v) for v, is_excluded in zip(variables, excluded) if is_excluded]
    _chief.warn(
        f"`{argument}={rules[0]}` excludes all kernels, and no bias or parameter of normalization. "
        "Masks and filters of other implementations say what to include, but a rule says what to "
        f"exclude: return the opposite. Received: it excludes {shortened(str(paths))}",
        stacklevel=2,
    )
