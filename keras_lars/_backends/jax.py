"""The update on JAX, which compiles the whole step."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_lars._backends.functional import FunctionalBackend
from keras_lars._types import Variable


class JaxBackend(FunctionalBackend):
    """As `FunctionalBackend`."""

    def xla_error(self, variables: Sequence[Variable]) -> str | None:
        return None

    def separate(self, variables: Sequence[keras.Variable]) -> None:
        """Give each an array of its own, or the next `fit` gives one away twice (fault 15)."""
        for variable in variables:
            variable.assign(ops.copy(variable.value))
