"""The update on TensorFlow, compiled by XLA; and how long what it made is kept.

Keras turns XLA off on machines without a GPU and under every `tf.distribute` strategy, so the
update is compiled by itself. It takes this replica's component of a variable, never a distributed
one.

A cluster is compiled for the `Signature` of each of its variables: shape, dtype and what there is
to compute. Numbers such as the momentum come as a tensor, so that the next trial of a search
compiles nothing.
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

# Kept after the last optimizer that uses them is gone, for the next one.
_KEPT = 256


class Signature(NamedTuple):
    """What the update of a variable is compiled for. Both configs are outlines."""

    config: UpdateConfig
    variable_config: VariableConfig
    shape: tuple[int, ...]
    dtype: tf.DType
    has_velocity: bool
    on_cpu: bool
    is_deterministic: bool


Signatures: TypeAlias = tuple[Signature, ...]  # those of the variables of a cluster


def numbers(config: UpdateConfig, variable_config: VariableConfig) -> list[float]:
    """The numbers of an update, without those of 0, which leave something out."""
    return [getattr(each, name) for each in (config, variable_config) for name in _numeric(each)]


@functools.lru_cache(_KEPT)  # asked for each variable, in each step of an eager loop
def outline(settings: Settings) -> Settings:
    """What the same program can compute: with 1 in the place of each of `numbers`."""
    ones: dict[str, Any] = dict.fromkeys(_numeric(settings), 1.0)
    return dataclasses.replace(settings, **ones)


def _filled(settings: Settings, values: Iterator[tf.Tensor]) -> Settings:
    numbers: dict[str, Any] = {name: next(values) for name in _numeric(settings)}
    return dataclasses.replace(settings, **numbers)


def _numeric(settings: UpdateConfig | VariableConfig) -> list[str]:
    return [name for name, x in vars(settings).items() if isinstance(x, float) and x != 0]


class CompiledUpdates:
    """The compiled updates of one TensorFlow context.

    An optimizer holds those that it uses, and the latest ones are held here. Without the context,
    which a test may reset, they are of no use, since the variables that they knew are gone.
    """

    def __init__(self) -> None:
        self._context: weakref.ref[object] | None = None
        self._all: weakref.WeakValueDictionary[Signatures, Compiled] = weakref.WeakValueDictionary()
        self._latest: collections.OrderedDict[Signatures, Compiled] = collections.OrderedDict()
        self._devices: set[str] = set()

    def why_not_xla(self, device_type: str) -> str | None:
        """Why XLA cannot compile for this kind of device now, or None where it can.

        A failure may pass, and so may what hides one: only what is known for good is remembered.
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
        """The function for a cluster, made where it is not there."""
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
    """A new function for XLA, of one cluster.

    It takes resource handles, plain tensors, and not variables: under a strategy, a `tf.function`
    that takes several variables of one shape reuses the trace, and with it the *captured variable*,
    of the first.
    """
    # An object of its own, and no closure: TensorFlow counts traces by code object, and would warn
    # of several functions that have one in common as of one that is traced again and again.
    update: Any = functools.partial(_update, signatures)
    update.__name__ = "lars_update_compiled"
    return tf.function(update, jit_compile=True, autograph=False)


class _Tensors(NamedTuple):
    """What the update of a variable takes."""

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
    """The update of variables in place, in XLA clusters.

    What was compiled for it is added to `used`, and kept as long as that is.
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
    """Why XLA cannot compile for this kind of device now, or None where it can."""
    return COMPILED.why_not_xla(device_type)
