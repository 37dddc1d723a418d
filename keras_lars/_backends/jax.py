"""The update on JAX, which compiles the whole step."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import keras
from keras import ops

from keras_lars._backends import jax_update
from keras_lars._backends.functional import FunctionalBackend, Values
from keras_lars._types import Tensor, Variable
from keras_lars._update_rule import Record

if TYPE_CHECKING:
    from keras_lars._backends.base import BuiltUpdate


class JaxBackend(FunctionalBackend):
    """Like `FunctionalBackend`, with fewer kernels on accelerators, and fewer copies."""

    def xla_error(self, variables: Sequence[Variable]) -> str | None:
        return None

    def holds_sum(self, accumulator: keras.Variable) -> bool:
        sums = accumulator.value
        return not isinstance(sums, jax.core.Tracer) and bool(jnp.any(sums != 0))

    def keeps(self, rate: Tensor, calls: keras.Variable) -> bool:
        is_compiling = isinstance(calls.value, jax.core.Tracer)
        return is_compiling and not isinstance(getattr(rate, "value", rate), jax.core.Tracer)

    def separate(self, variables: Sequence[keras.Variable]) -> None:
        """Give each variable its own array, or the next `fit` donates one twice (fault 15)."""
        for variable in variables:
            variable.assign(ops.copy(variable.value))

    def changed_if(
        self, condition: jax.Array, change: Callable[[Values], Values], values: Values
    ) -> tuple[Values, jax.Array]:
        """Like `FunctionalBackend.changed_if`, but by a loop that runs once or never.

        XLA updates the values of a loop in place, but copies those that a condition returns.
        """
        change, constants = jax.closure_convert(change, values)

        @jax.custom_jvp
        def changed(
            condition: jax.Array, values: Values, constants: list[jax.Array]
        ) -> tuple[jax.Array, Values]:
            return jax.lax.while_loop(
                lambda state: state[0],
                lambda state: (jnp.zeros_like(state[0]), change(state[1], *constants)),
                (condition, values),
            )

        def derivable(
            condition: jax.Array, values: Values, constants: list[jax.Array]
        ) -> tuple[jax.Array, Values]:
            # JAX has no reverse-mode derivative of a while loop.
            new = jax.lax.cond(
                condition, change, lambda values, *constants: values, values, *constants
            )
            return jnp.zeros_like(condition), new

        changed.defjvp(lambda primals, tangents: jax.jvp(derivable, primals, tangents))
        pending, new = changed(condition, values, constants)
        # An element of an array, because XLA merges kernels that read the same array, but not those
        # that read the same scalar.
        changed_now = jnp.broadcast_to(condition & ~pending, [2])
        return new, jax.lax.optimization_barrier(changed_now)[0]

    def squared_norms(self, gradients: list[jax.Array]) -> list[jax.Array]:
        if not jax_update.together():
            return super().squared_norms(gradients)
        return jax_update.squared_norms(gradients)

    def update_variables(
        self,
        update: "BuiltUpdate",
        values: Values,
        gradients: list[jax.Array],
        positions: list[int],
        learning_rate: jax.Array,
    ) -> tuple[Values, list[Record | None]]:
        if not jax_update.together():
            return super().update_variables(update, values, gradients, positions, learning_rate)
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
