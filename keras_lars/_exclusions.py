"""Rules that exclude variables: what each matches, and how it is saved."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import keras

from keras_lars import _arguments, _chief
from keras_lars._keras.fitted_model import is_loaded
from keras_lars._types import Variable
from keras_lars._variables import path_of, shape_of, without_output_number

LOST_NAMES = (  # before Keras 3.16
    "those in a loaded model lack the names of Sequential models: load it with `compile=False`, "
    "compile it with a rule for the present paths, and load the state with `model.load_weights`"
)

FindVariables: TypeAlias = Callable[[], Sequence[Variable]]


def _last_path_part(variable: Variable) -> str:
    return path_of(variable).split("/")[-1]


def _alike(variables: Sequence[Variable], shape: tuple[int, ...], name: str) -> list[int]:
    """The positions of all variables of one shape and name."""
    return [
        i for i, v in enumerate(variables) if (shape_of(v), _last_path_part(v)) == (shape, name)
    ]


class Exclusion:
    """The base of all rules. Errors name `argument`, the constructor's argument with the rule."""

    def __call__(self, variable: Variable) -> bool:
        raise NotImplementedError

    def match(
        self, argument: str, variables: Sequence[Variable], frozen: FindVariables = list
    ) -> list[bool]:
        """Whether each variable is excluded. `frozen` returns the model's untrained variables."""
        return [bool(self(variable)) for variable in variables]

    def differs(self, saved: Sequence[Any], variables: Sequence[Variable]) -> bool:
        """Whether it excludes others by the paths in a file than by those of the variables."""
        return False

    def save(self, argument: str, variables: Sequence[Variable] | None) -> Any:
        """The rule in a configuration. `variables` are the optimizer's, or None before `build`."""
        return keras.saving.serialize_keras_object(self)

    def __repr__(self) -> str:
        return str(self)


@dataclasses.dataclass(frozen=True, repr=False)
class _SavedRule(Exclusion):
    """A rule that is saved as its fields."""

    def get_config(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "_SavedRule":
        return cls(**config)


_Rule = TypeVar("_Rule", bound=type[_SavedRule])


def _saved_as(name: str) -> Callable[[_Rule], _Rule]:
    return keras.saving.register_keras_serializable(package="keras_lars", name=name)


@_saved_as("rank_at_most")
@dataclasses.dataclass(frozen=True, repr=False)
class _RankAtMost(_SavedRule):
    n: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", _arguments.integer(minimum=0)("n", self.n))

    def __call__(self, variable: Variable) -> bool:
        return len(variable.shape) <= self.n

    def __str__(self) -> str:
        return f"rank_at_most({self.n})"


@_saved_as("bias_or_normalization")
@dataclasses.dataclass(frozen=True, repr=False)
class _BiasOrNormalization(_SavedRule):
    def __call__(self, variable: Variable) -> bool:
        named = _last_path_part(variable) in ("bias", "gamma", "beta", "scale")
        return named or len(variable.shape) <= 1

    def __str__(self) -> str:
        return "bias_or_normalization()"


@_saved_as("pattern")
@dataclasses.dataclass(frozen=True, repr=False)
class _Pattern(_SavedRule):
    """A regular expression, searched in the path."""

    pattern: str
    optional: bool = False

    def __post_init__(self) -> None:
        _arguments.pattern("pattern", self.pattern)
        _arguments.one_of(False, True)("optional", self.optional)

    def __call__(self, variable: Variable) -> bool:
        return re.search(self.pattern, path_of(variable)) is not None

    def match(
        self, argument: str, variables: Sequence[Variable], frozen: FindVariables = list
    ) -> list[bool]:
        matched = super().match(argument, variables)
        if self.optional or any(matched):
            return matched
        instead = [path_of(v) for v in frozen() if self(v)]
        if not instead:
            shown = _arguments.shown(self.pattern)
            hint = f"write `keras_lars.optional({shown})` if it may match none"
            raise ValueError(
                f"`{argument}` must match at least one variable path "
                f"({LOST_NAMES if is_loaded() else hint}). Received: {argument}={shown}, "
                f"and the paths are {[path_of(v) for v in variables]}"
            )
        _chief.warn(
            f"`{argument}={self.pattern!r}` matches only frozen variables, so it excludes "
            f"nothing: {instead}. If this is intended, write "
            f"`keras_lars.optional({self.pattern!r})`.",
            stacklevel=2,
        )
        return matched

    def differs(self, saved: Sequence[Any], variables: Sequence[Variable]) -> bool:
        return [self(v) for v in saved] != [self(v) for v in variables]

    def save(self, argument: str, variables: Sequence[Variable] | None) -> Any:
        return super().save(argument, variables) if self.optional else self.pattern

    def __str__(self) -> str:
        return f"optional({self.pattern!r})" if self.optional else repr(self.pattern)


@_saved_as("variable")
@dataclasses.dataclass(frozen=True, repr=False)
class _SavedVariable(_SavedRule):
    """A variable in a configuration, found again by its number among those of its shape and name.

    A path would not do: it changes when a Sequential model is loaded again, and two weights of one
    layer may share it. Version 0.1.0 did not save the number, so its variables are found by
    position.
    """

    position: int
    shape: tuple[int, ...]
    last_path_part: str
    number: int | None = None

    def __post_init__(self) -> None:
        size = _arguments.integer(minimum=0)
        size("position", self.position)
        _arguments.integer(minimum=0, none=True)("number", self.number)
        if not isinstance(self.last_path_part, str):
            raise _arguments.refusal("last_path_part", "a string", self.last_path_part)
        shape = tuple(size("shape", n) for n in self.shape)  # a list if read from a file
        object.__setattr__(self, "shape", shape)
        # Version 0.1.0 saved the names of TensorFlow's own variables with their ":0".
        name = without_output_number(self.last_path_part)
        object.__setattr__(self, "last_path_part", name)

    def match(
        self, argument: str, variables: Sequence[Variable], frozen: FindVariables = list
    ) -> list[bool]:
        alike = _alike(variables, self.shape, self.last_path_part)
        if self.number is not None:
            alike = alike[self.number : self.number + 1]
        elif self.position in alike:
            alike = [self.position]
        else:
            alike = []
        if not alike:
            raise ValueError(
                f"`{argument}` must match the variable with which it was saved: "
                f"`{self.last_path_part}` of shape {self.shape} at position {self.position} of the "
                f"trainable variables. Received: the paths {[path_of(v) for v in variables]}"
            )
        return [position == alike[0] for position in range(len(variables))]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "shape": list(self.shape)}

    def __str__(self) -> str:
        return f"variable {self.position}"

    def __repr__(self) -> str:
        return f"<{self}>"


def pattern(text: str) -> Exclusion:
    """The rule of a plain string: a regular expression that must match some variable."""
    return _Pattern(text)


def saved_variable(position: int, variables: Sequence[Variable]) -> Exclusion:
    """The rule that finds the variable at this position again after loading."""
    shape, name = shape_of(variables[position]), _last_path_part(variables[position])
    number = _alike(variables, shape, name).index(position)
    return _SavedVariable(position, shape, name, number)


def rank_at_most(n: int) -> Exclusion:
    """The rule that excludes variables of at most `n` dimensions.

    Use `rank_at_most(1)` to train biases and normalization parameters at the plain learning rate,
    as MLPerf, SimCLR, BYOL and others do in networks with batch normalization.

    Args:
        n: Integer, 0 or more. A bias has rank 1, the kernel of a dense layer 2.

    Raises:
        ValueError: If `n` is not an integer, or is negative.

    Example:

    >>> rule = keras_lars.rank_at_most(1)
    >>> [rule(keras.Variable(keras.ops.ones(shape))) for shape in [(3,), (2, 3)]]
    [True, False]
    """
    return _RankAtMost(n)


def bias_or_normalization() -> Exclusion:
    """The rule that excludes biases and the parameters of normalization layers.

    Use it to keep the default of `exclude_from_weight_decay` when you add rules of your own. A
    variable is excluded if its rank is at most 1, or if the last part of its path is `bias`,
    `gamma`, `beta` or `scale`. The names cover the biases of attention and GRU layers, which have
    rank 2.

    Example:

    >>> rule = keras_lars.bias_or_normalization()
    >>> bias = keras.Variable(keras.ops.ones((4, 8)), name="bias")
    >>> kernel = keras.Variable(keras.ops.ones((4, 8)), name="kernel")
    >>> rule(bias), rule(kernel)
    (True, False)
    """
    return _BiasOrNormalization()


def optional(pattern: str) -> Exclusion:
    """A regular expression that may match nothing.

    Use it when one setting serves several models. A plain string that matches no path raises an
    error when the optimizer is built, because it is usually a typo.

    Args:
        pattern: String. A regular expression, searched in `variable.path`. The search has no time
            limit: nested repetitions, as in `(\\w+)*bias`, may take hours on a path of 40
            characters. Write `bias` instead.

    Raises:
        ValueError: If `pattern` is not a string or not a regular expression, or if the pattern or
            one of its alternatives is empty, as in `"bias|"`, which matches every path.

    Example:

    >>> optimizer = keras_lars.LARS(exclude_from_weight_decay=keras_lars.optional("embedding"))
    >>> optimizer.build([keras.Variable([1.0, 2.0], name="kernel")])
    >>> optimizer.variable_table()[0].decayed
    True
    """
    return _Pattern(pattern, optional=True)
