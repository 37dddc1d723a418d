"""A forward pass in training mode that does not change the model.

The values of all variables are passed in, and what would be assigned is returned
(`keras.StatelessScope`). So weights, seeds, metrics and counters stay the same, even if the pass
fails halfway.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator

import keras
import numpy as np

from keras_lars._types import Tensor


class _Recorder(keras.StatelessScope):
    """Keeps every value that is assigned to some variables, not only the last one."""

    def __init__(self, state: list[tuple[keras.Variable, Tensor]], variables: list[keras.Variable]):
        super().__init__(state_mapping=state)
        self.recorded: dict[int, list[Tensor]] = {id(variable): [] for variable in variables}

    def add_update(self, update: tuple[keras.Variable, Tensor]) -> None:
        super().add_update(update)
        variable, value = update
        if id(variable) in self.recorded:
            self.recorded[id(variable)].append(value)


@contextlib.contextmanager
def _of_this_batch_alone(layers: list[keras.layers.Layer]) -> Iterator[None]:
    """Make moving statistics those of the last batch alone, on this replica alone."""
    names = ("momentum", "synchronized")
    before = [
        {name: getattr(each, name) for name in names if hasattr(each, name)} for each in layers
    ]
    try:
        for layer, attributes in zip(layers, before):
            for name in attributes:
                setattr(layer, name, 0.0 if name == "momentum" else False)
        yield
    finally:
        for layer, attributes in zip(layers, before):
            for name, value in attributes.items():
                setattr(layer, name, value)


class TrainingPass:
    """Computes the batch statistics of a model's layers, batch by batch.

    Args:
        model: A built model.
        layers: The layers whose statistics are computed.

    Attributes:
        layers: As given.
        width: Integer, the number of batches in one run: one for each replica of this worker.
    """

    def __init__(self, model: keras.Model, layers: list[keras.layers.Layer]):
        self.model, self.layers = model, layers
        self._trainable = list(model.trainable_variables)
        self._others = list(model.non_trainable_variables)
        self._statistics = [
            variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)
        ]
        self._takes_training = "training" in inspect.signature(model.call).parameters
        make = {"tensorflow": _for_tensorflow, "jax": _for_jax, "torch": _for_torch}
        self._run, self.width = make[keras.backend.backend()](model, self._step)

    def start(self, moved: list[keras.Variable] | None = None) -> "State":
        """The state of the model, with finite values in place of the statistics in `moved`.

        Otherwise a mean that is not finite would stay so, because 0 times NaN is NaN.
        """
        reset = {id(variable) for variable in moved or ()}
        variances = {id(layer.moving_variance) for layer in self.layers}
        others = [
            keras.ops.full(variable.shape, float(id(variable) in variances), variable.dtype)
            if id(variable) in reset
            else value_of(self.model, variable)
            for variable in self._others
        ]
        return [value_of(self.model, variable) for variable in self._trainable], others

    def run(
        self, state: "State", inputs: list[Tensor]
    ) -> "tuple[list[dict[int, np.ndarray]], State]":
        """The statistics of each of up to `width` batches, and the state after them.

        The statistics of a batch are NumPy arrays in float64, by the position of the variable in
        `variables`. Variables that were not assigned are left out.
        """
        with _of_this_batch_alone(self.layers):
            outcomes = self._run(*state, inputs)
        statistics = [
            {position: _number(found[str(position)]) for position in sorted(map(int, found))}
            for found, _ in outcomes
        ]
        moved = {id(self._statistics[position]) for position in statistics[0]}
        # Seeds advance from batch to batch, but statistics start again.
        others = [
            old if id(variable) in moved else new
            for variable, old, new in zip(self._others, state[1], outcomes[-1][1])
        ]
        return statistics, (state[0], others)

    @property
    def variables(self) -> list[keras.Variable]:
        """The moving mean and moving variance of each layer, in order."""
        return self._statistics

    def _step(
        self, trainable: list[Tensor], others: list[Tensor], inputs: Tensor
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        state = list(zip([*self._trainable, *self._others], [*trainable, *others]))
        options = {"training": True} if self._takes_training else {}
        with _Recorder(state, self._statistics) as scope:
            # Called as in Keras's trainers.
            is_jax = keras.backend.backend() == "jax"
            (self.model.call if is_jax else self.model)(inputs, **options)
        found = {}
        for position, variable in enumerate(self._statistics):
            # A layer that is called several times has statistics for each call.
            if values := scope.recorded[id(variable)]:
                found[str(position)] = sum(values[1:], values[0]) / len(values)
        return found, [scope.get_current_value(variable) for variable in self._others]


State = tuple[list[Tensor], list[Tensor]]  # values of trainable and of other variables
Outcome = tuple[dict[str, Tensor], list[Tensor]]  # statistics, and values of other variables
Step = Callable[[list[Tensor], list[Tensor], Tensor], Outcome]
Run = Callable[[list[Tensor], list[Tensor], list[Tensor]], list[Outcome]]


def value_of(model: keras.Model, variable: keras.Variable) -> Tensor:
    """The value as a tensor; under a strategy, that on the first replica of this worker."""
    if keras.backend.backend() != "tensorflow":
        return variable.value
    component = model.distribute_strategy.experimental_local_results(variable.value)[0]
    return component.read_value()


def _number(value: object) -> np.ndarray:
    return keras.ops.convert_to_numpy(value).astype("float64")


def _one_by_one(step: Step) -> Run:
    return lambda trainable, others, inputs: [step(trainable, others, x) for x in inputs]


def _for_torch(model: keras.Model, step: Step) -> tuple[Run, int]:
    import torch

    def run(trainable: list[Tensor], others: list[Tensor], inputs: list[Tensor]) -> list[Outcome]:
        # torch's modules draw from torch's own generators.
        with torch.no_grad(), torch.random.fork_rng(range(torch.cuda.device_count())):
            return _one_by_one(step)(trainable, others, inputs)

    return run, 1


def _for_jax(model: keras.Model, step: Step) -> tuple[Run, int]:
    import jax

    is_compiled = model.jit_compile and not model.run_eagerly
    return _one_by_one(jax.jit(step) if is_compiled else step), 1


def _for_tensorflow(model: keras.Model, step: Step) -> tuple[Run, int]:
    import tensorflow as tf

    if not model.run_eagerly:
        step = tf.function(step, autograph=False, reduce_retracing=True)
    strategy = model.distribute_strategy
    width = len(strategy.experimental_local_results(model.variables[0].value))
    if width == 1:
        return _one_by_one(step), 1

    def run(trainable: list[Tensor], others: list[Tensor], inputs: list[Tensor]) -> list[Outcome]:
        # Replicas without a batch of their own repeat the first one.
        of_replica = [*inputs, *inputs[:1] * (width - len(inputs))]
        shared = strategy.experimental_distribute_values_from_function(
            lambda context: of_replica[context.replica_id_in_sync_group % width]
        )
        outcome = strategy.run(step, args=(trainable, others, shared))
        return [
            keras.tree.map_structure(
                lambda value, i=i: strategy.experimental_local_results(value)[i], outcome
            )
            for i in range(len(inputs))
        ]

    return run, width
