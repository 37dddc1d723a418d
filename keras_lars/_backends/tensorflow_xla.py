"""The update of one variable on TensorFlow, compiled by XLA; and how long what it made is kept.

Keras turns XLA off on machines without a GPU and under every `tf.distribute` strategy, so the
update is compiled by itself. It takes this replica's component of a variable, never a distributed
one.

An update is compiled for a `Signature`: shape, dtype and what there is to compute. Numbers such as
the momentum come as a tensor, so that the next trial of a search compiles nothing.
"""

import collections
import dataclasses
import functools
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import tensorflow as tf

from keras_lars._backends.tensorflow_norms import staged_norms
from keras_lars._keras import tensorflow_context
from keras_lars._update_rule import Record, UpdateConfig, VariableConfig, lars_update, plain_norms

Compiled: TypeAlias = tf.types.experimental.PolymorphicFunction
Settings = TypeVar("Settings", UpdateConfig, VariableConfig)

# Kept after the last optimizer that uses them is gone, for the next one.
_KEPT = 256


class Signature(NamedTuple):
    """What a compiled update is made for. Both configs are outlines."""

    config: UpdateConfig
    variable_config: VariableConfig
    shape: tuple[int, ...]
    dtype: tf.DType
    has_velocity: bool
    on_cpu: bool
    is_deterministic: bool


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
        self._all: weakref.WeakValueDictionary[Signature, Compiled] = weakref.WeakValueDictionary()
        self._latest: collections.OrderedDict[Signature, Compiled] = collections.OrderedDict()
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

    def get(self, signature: Signature) -> Compiled:
        """The function for a signature, made where it is not there."""
        self._forget_other_contexts()
        function = self._all.get(signature)
        if function is None:
            function = self._all[signature] = compiled(signature)
        self._latest[signature] = function
        self._latest.move_to_end(signature)
        if len(self._latest) > _KEPT:
            self._latest.popitem(last=False)
        return function


COMPILED = CompiledUpdates()


def compiled(signature: Signature) -> Compiled:
    """A new function for XLA.

    It takes resource handles, plain tensors, and not variables: under a strategy, a `tf.function`
    that takes several variables of one shape reuses the trace, and with it the *captured variable*,
    of the first.
    """
    # An object of its own, and no closure: TensorFlow counts traces by code object, and would warn
    # of several functions that have one in common as of one that is traced again and again.
    update: Any = functools.partial(_update, signature)
    update.__name__ = "lars_update_compiled"
    return tf.function(update, jit_compile=True, autograph=False)


def _update(
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
    variable: tf.Variable,
    velocity: tf.Variable | None,
    gradient: tf.Tensor,
    learning_rate: tf.Tensor,
    variable_config: VariableConfig,
    config: UpdateConfig,
    used: set[Compiled],
    constants: dict[tuple[VariableConfig, tf.DType], tf.Tensor],
) -> Record | None:
    """The update of one variable in place, in one XLA cluster.

    What was compiled for it is added to `used`, and kept as long as that is. Variables that are
    treated alike share what is added to `constants`.
    """
    signature = Signature(
        outline(config),
        outline(variable_config),
        tuple(variable.shape),
        variable.dtype,
        has_velocity=velocity is not None,
        on_cpu=device_type(variable) == "CPU",
        is_deterministic=tensorflow_context.is_deterministic(),
    )
    function = COMPILED.get(signature)
    used.add(function)
    handles = [variable.handle] if velocity is None else [variable.handle, velocity.handle]
    key = variable_config, gradient.dtype
    if key not in constants:
        constants[key] = tf.constant(numbers(config, variable_config), gradient.dtype)
    return function(handles, constants[key], gradient, learning_rate)


def device_type(variable: tf.Variable) -> str:
    """The kind of device ("CPU", "GPU", "TPU") of a variable, or of its first replica."""
    return tf.DeviceSpec.from_string(variable.device).device_type or "CPU"


def why_not_xla(device_type: str) -> str | None:
    """Why XLA cannot compile for this kind of device now, or None where it can."""
    return COMPILED.why_not_xla(device_type)
