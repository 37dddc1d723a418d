"""The update on JAX, which compiles the whole step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import jax
import keras
from keras import ops

from keras_lars._backends import jax_update
from keras_lars._backends.functional import FunctionalBackend, Values
from keras_lars._types import Variable
from keras_lars._update_rule import Record

if TYPE_CHECKING:
    from keras_lars._backends.base import BuiltUpdate


class JaxBackend(FunctionalBackend):
    """As `FunctionalBackend`, with variables that are alike updated together."""

    def xla_error(self, variables: Sequence[Variable]) -> str | None:
        return None

    def separate(self, variables: Sequence[keras.Variable]) -> None:
        """Give each an array of its own, or the next `fit` gives one away twice (fault 15)."""
        for variable in variables:
            variable.assign(ops.copy(variable.value))

    def update_variables(
        self,
        update: "BuiltUpdate",
        values: Values,
        gradients: list[jax.Array],
        positions: list[int],
        learning_rate: jax.Array,
    ) -> tuple[Values, list[Record | None]]:
        """As `FunctionalBackend`; a loss of the new weights may be differentiated."""
        variables = [
            jax_update.Arrays(
                i,
                values["variables", i],
                g,
                values.get(("velocities", i)),
                update.variable_configs[i],
            )
            for i, g in zip(positions, gradients)
        ]
        new: Values = {}
        records = {}
        for group in jax_update.groups(variables):
            moved, of_group = jax_update.updated(group, learning_rate, update.config)
            for each, (w, v), record in zip(group, moved, of_group):
                new["variables", each.position] = w
                if v is not None:
                    new["velocities", each.position] = v
                records[each.position] = record
        return new, [records[i] for i in positions]
