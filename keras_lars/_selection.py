"""The exclusion rules of an optimizer, from which `build` makes the variable table."""

import functools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_lars import _arguments, _chief, _exclusion_arguments
from keras_lars._exclusions import LOST_NAMES, Exclusion, bias_or_normalization
from keras_lars._keras.fitted_model import frozen_variables
from keras_lars._keras.optimizer import KerasOptimizer
from keras_lars._types import Variable
from keras_lars._variable_order import Described
from keras_lars._variable_table import VariableTable, variable_table
from keras_lars._variables import path_of

if TYPE_CHECKING:
    from keras_lars._exclusion_arguments import ExclusionRules

_METHODS = ("exclude_from_layer_adaptation", "exclude_from_weight_decay")


class SelectingOptimizer(KerasOptimizer):
    """An optimizer whose arguments, and methods of the same names, exclude variables by rules."""

    _rules_are_saved = False  # whether they are those of a configuration

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        optimizer = super().from_config(config, custom_objects)
        optimizer._rules_are_saved = True
        return optimizer

    def __setattr__(self, name: str, value: object) -> None:
        if name in _METHODS:
            raise ValueError(
                f"`{name}` must be given to the constructor, or called as a method before the "
                f"optimizer is built. Received: {name}={_arguments.shown(value)}"
            )
        super().__setattr__(name, value)

    def _set_rules(
        self, adaptation: "ExclusionRules | None", weight_decay: "ExclusionRules | None"
    ) -> None:
        """Parse the arguments of the constructor."""
        self._adaptation_rules = _exclusion_arguments.parse(
            "exclude_from_layer_adaptation", [] if adaptation is None else adaptation
        )
        self._decay_rules = _exclusion_arguments.parse(
            "exclude_from_weight_decay",
            bias_or_normalization() if weight_decay is None else weight_decay,
        )

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[Variable] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """Excludes more variables from weight decay, before the optimizer is built.

        Prefer the constructor's argument. This is Keras's method, and adds to that argument.

        Args:
            var_list: List of variables.
            var_names: List of regular expressions, searched in `variable.path`.

        Raises:
            ValueError: If the optimizer is already built.
        """
        self._decay_rules += self._more_rules("exclude_from_weight_decay", var_list, var_names)

    def exclude_from_layer_adaptation(
        self,
        var_list: Sequence[Variable] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """Excludes more variables from layer adaptation, like `exclude_from_weight_decay`."""
        self._adaptation_rules += self._more_rules(
            "exclude_from_layer_adaptation", var_list, var_names
        )

    def _more_rules(
        self,
        argument: str,
        variables: Sequence[Variable] | None,
        patterns: Sequence[str] | None,
    ) -> tuple[Exclusion, ...]:
        if self.built:
            raise ValueError(
                f"`{argument}` must be called before the optimizer is built. "
                f"Received: var_list={_arguments.shown(variables)}, "
                f"var_names={_arguments.shown(patterns)}"
            )
        given = {"var_list": variables, "var_names": patterns}
        rules = (
            _exclusion_arguments.parse(n, value) for n, value in given.items() if value is not None
        )
        found: tuple[Exclusion, ...] = sum(rules, ())
        if not found:
            _chief.warn(
                f"`{argument}` was called without variables or names, so it excludes nothing. The "
                "variables of a layer or model are an empty list until it is built. Received: "
                f"var_list={_arguments.shown(variables)}, var_names={_arguments.shown(patterns)}",
                stacklevel=3,
            )
        return found

    def _rules_config(self) -> dict[str, list[Any]]:
        """The rules in the form that a configuration holds."""
        rules = self._rules()
        variables = self._slots.variables if self.built else None
        return {
            argument: [rule.save(argument, variables) for rule in rules[argument]]
            for argument in _METHODS
        }

    def _select(self, variables: Sequence[Variable], weight_decay: float) -> VariableTable:
        """Decide how each variable is treated."""
        table = variable_table(
            variables,
            self._adaptation_rules,
            self._decay_rules,
            weight_decay,
            frozen=functools.partial(frozen_variables, self),
        )
        reasons = zip(*((row.adaptation_rule, row.decay_rule) for row in table))
        for (argument, rules), texts in zip(self._rules().items(), reasons):
            excluded = [text != "" for text in texts]
            _exclusion_arguments.warn_if_mask(argument, rules, variables, excluded)
        return table

    def _rules(self) -> dict[str, tuple[Exclusion, ...]]:
        return dict(zip(_METHODS, (self._adaptation_rules, self._decay_rules)))

    def _check_paths(self, saved: Sequence[Described]) -> None:
        if not self._rules_are_saved:
            return
        rules = self._rules()
        variables = self._slots.variables
        changed = [
            f"`{argument}={rule}`"
            for argument in _METHODS
            for rule in rules[argument]
            if rule.differs(saved, variables)
        ]
        if changed:
            warnings.warn(
                f"{', '.join(changed)} excludes other variables than when the state of optimizer "
                f"'{self.name}' was saved, because their paths have changed ({LOST_NAMES}). "
                f"Received: {[path_of(v) for v in variables]}",
                stacklevel=2,
            )

    def variable_table(self) -> VariableTable:
        """How each variable is treated, and by which rule. `print` shows it as a table.

        Use it before training to see what the rules exclude.

        Returns:
            A tuple of rows with the fields `position`, `path`, `shape`, `adapted`,
            `adaptation_rule`, `decayed` and `decay_rule`. The two rules are those that exclude
            the variable, or empty strings. They are `overwritten by Keras` for variables that
            LARS does not update, such as the scales of float8.

        Raises:
            ValueError: If the optimizer is not built.

        Example:

        >>> optimizer = keras_lars.LARS(exclude_from_layer_adaptation=keras_lars.rank_at_most(1))
        >>> kernel = keras.Variable([[1.0]], name="kernel")
        >>> bias = keras.Variable([0.0], name="bias")
        >>> optimizer.build([kernel, bias])
        >>> print(optimizer.variable_table())
           path    shape   adapted              decayed
        0  kernel  (1, 1)  yes                  yes
        1  bias    (1,)    no: rank_at_most(1)  no: bias_or_normalization()
        """
        self._require_built("variable_table")
        return self._update.table
