"""The update on TensorFlow compiled by XLA, and the cache of compiled functions.

Keras turns XLA off on machines without a GPU and under every `tf.distribute` strategy, so the
update is compiled separately. It takes this replica's component of a variable, never a distributed
one.

A cluster is compiled for the `Signature` of each of its variables: shape, dtype and what to
compute. Numbers such as the momentum are passed as a tensor, so that a hyperparameter search
compiles only once.
"""

import collections
import dataclasses
import functools
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import tensorflow as tf

from keras_lars._backends.tensorflow_clusters import clusters
from keras_lars._backends.tensorflow_norms import staged_norms
from keras_lars._keras import tensorflow_context
from keras_lars._update_rule import Record, UpdateConfig, VariableConfig, lars_update, plain_norms

Compiled: TypeAlias = tf.types.experimental.PolymorphicFunction
Settings = TypeVar("Settings", UpdateConfig, VariableConfig)

# The number of functions that are kept for the next optimizer when the last user is gone.
_KEPT = 256


class Signature(NamedTuple):
    """What the update of a variable is compiled for. Both configs come from `outline`."""

    config: UpdateConfig
    variable_config: VariableConfig
    shape: tuple[int, ...]
    dtype: tf.DType
    has_velocity: bool
    on_cpu: bool
    is_deterministic: bool


Signatures: TypeAlias = tuple[Signature, ...]  # of all variables in a cluster


def numbers(config: UpdateConfig, variable_config: VariableConfig) -> list[float]:
    """The numbers of an update, except 0: a 0 removes a term, and so changes the program."""
    return [getattr(each, name) for each in (config, variable_config) for name in _numeric(each)]


@functools.lru_cache(_KEPT)  # called for each variable in each step of an eager loop
def outline(settings: Settings) -> Settings:
    """The settings with 1 in place of each of `numbers`: one program serves all that are equal."""
    ones: dict[str, Any] = dict.fromkeys(_numeric(settings), 1.0)
    return dataclasses.replace(settings, **ones)


def _filled(settings: Settings, values: Iterator[tf.Tensor]) -> Settings:
    numbers: dict[str, Any] = {name: next(values) for name in _numeric(settings)}
    return dataclasses.replace(settings, **numbers)


def _numeric(settings: UpdateConfig | VariableConfig) -> list[str]:
    return [name for name, x in vars(settings).items() if isinstance(x, float) and x != 0]


class CompiledUpdates:
    """The compiled updates of one TensorFlow context.

    Optimizers keep those alive that they use, and the latest ones are kept alive here. All are
    dropped if the context was reset, as a test may do, because their variables are gone.
    """

    def __init__(self) -> None:
        self._context: weakref.ref[object] | None = None
        self._all: weakref.WeakValueDictionary[Signatures, Compiled] = weakref.WeakValueDictionary()
        self._latest: collections.OrderedDict[Signatures, Compiled] = collections.OrderedDict()
        self._devices: set[str] = set()

    def why_not_xla(self, device_type: str) -> str | None:
        """Why XLA cannot compile for this kind of device now, or None if it can.

        A failure is not remembered, because it may be temporary. Neither is a success while
        functions run eagerly, which hides a failure.
        """
        self._forget_other_contexts()
        if device_type in self._devices:
            return None
        probe = tf.function(functools.partial(tf.add, 1.0), jit_compile=True, autograph=False)
        try:
            with tf.init_scope(), tf.device(f"/device:{device_type}:0"):
                probe(tf.constant(0.0))
        except tf.errors.OpError as error:
            return str(error)
        if not tf.config.functions_run_eagerly():
            self._devices.add(device_type)
        return None

    def _forget_other_contexts(self) -> None:
        context = tensorflow_context.current()
        if self._context is None or self._context() is not context:
            self._context = weakref.ref(context)
            self._all.clear()
            self._latest.clear()
            self._devices.clear()

    def get(self, signatures: Signatures) -> Compiled:
        """The compiled function for a cluster, created on first use."""
        self._forget_other_contexts()
        function = self._all.get(signatures)
        if function is None:
            function = self._all[signatures] = compiled(signatures)
        self._latest[signatures] = function
        self._latest.move_to_end(signatures)
        if len(self._latest) > _KEPT:
            self._latest.popitem(last=False)
        return function


COMPILED = CompiledUpdates()


def compiled(signatures: Signatures) -> Compiled:
    """A new XLA function for one cluster.

    It takes resource handles, which are plain tensors, instead of variables: under a strategy, a
    `tf.function` that gets several variables of one shape reuses the trace of the first, and with
    it the *captured variable*.
    """
    # A `partial` and not a closure: TensorFlow counts traces by code object, so it would take
    # closures for one function that is traced again and again, and warn.
    update: Any = functools.partial(_update, signatures)
    update.__name__ = "lars_update_compiled"
    return tf.function(update, jit_compile=True, autograph=False)


class _Tensors(NamedTuple):
    """The inputs of the update of one variable."""

    handles: list[tf.Tensor]  # of the variable, and of its velocity if it has one
    numbers: tf.Tensor
    gradient: tf.Tensor


def _update(
    signatures: Signatures, cluster: list[_Tensors], learning_rate: tf.Tensor
) -> list[Record | None]:
    return [
        _update_variable(signature, *tensors, learning_rate)
        for signature, tensors in zip(signatures, cluster)
    ]


def _update_variable(
    signature: Signature,
    handles: Sequence[tf.Tensor],
    numbers: tf.Tensor,
    gradient: tf.Tensor,
    learning_rate: tf.Tensor,
) -> Record | None:
    values = [
        tf.raw_ops.ReadVariableOp(resource=handle, dtype=signature.dtype) for handle in handles
    ]
    for tensor in [*values, gradient]:
        tensor.set_shape(signature.shape)
    each = iter(tf.unstack(numbers))
    w, v, record = lars_update(
        values[0],
        gradient,
        values[1] if signature.has_velocity else None,
        learning_rate,
        config=_filled(signature.config, each),
        variable_config=_filled(signature.variable_config, each),
        norms=staged_norms if signature.on_cpu else plain_norms,
    )
    for handle, value in zip(handles, [w, v]):
        tf.raw_ops.AssignVariableOp(resource=handle, value=value)
    return record


def update_compiled(
    variables: Sequence[tf.Variable],
    velocities: Sequence[tf.Variable | None],
    gradients: Sequence[tf.Tensor],
    learning_rate: tf.Tensor,
    variable_configs: Sequence[VariableConfig],
    config: UpdateConfig,
    used: set[Compiled],
) -> list[Record | None]:
    """Update variables in place, in XLA clusters.

    The compiled functions are added to `used`, which keeps them alive.
    """
    signatures = [
        Signature(
            outline(config),
            outline(variable_config),
            tuple(variable.shape),
            variable.dtype,
            has_velocity=velocity is not None,
            on_cpu=device_type(variable) == "CPU",
            is_deterministic=tensorflow_context.is_deterministic(),
        )
        for variable, velocity, variable_config in zip(variables, velocities, variable_configs)
    ]

    @functools.cache  # variables that are treated alike share a constant
    def constant(variable_config: VariableConfig, dtype: tf.DType) -> tf.Tensor:
        return tf.constant(numbers(config, variable_config), dtype)

    tensors = [
        _Tensors(
            [each.handle for each in (variable, velocity) if each is not None],
            constant(variable_config, gradient.dtype),
            gradient,
        )
        for variable, velocity, gradient, variable_config in zip(
            variables, velocities, gradients, variable_configs
        )
    ]
    records: list[Record | None] = [None] * len(tensors)
    for cluster in clusters(signatures, [variable.device for variable in variables]):
        function = COMPILED.get(tuple(signatures[i] for i in cluster))
        used.add(function)
        found = function([tensors[i] for i in cluster], learning_rate)
        for i, record in zip(cluster, found):
            records[i] = record
    return records


def device_type(variable: tf.Variable) -> str:
    """The kind of device ("CPU", "GPU", "TPU") of a variable, or of its first replica."""
    return tf.DeviceSpec.from_string(variable.device).device_type or "CPU"


def why_not_xla(device_type: str) -> str | None:
    """Why XLA cannot compile for this kind of device now, or None if it can."""
    return COMPILED.why_not_xla(device_type)
