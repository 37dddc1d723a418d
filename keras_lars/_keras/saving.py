"""Repairs `save` and `save_weights` of one model under several workers (fault 20)."""

import contextlib
import functools
import inspect
import os
import pathlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_lars import _replicas
from keras_lars._files import taking_the_place_of
from keras_lars._keras.layers import all_layers
from keras_lars._model_state import sums_of_parts, wrapped

_SUFFIXES = (".keras", ".h5", ".hdf5")

# What the other workers raise is of the first of these that the chief's error is, or the last.
_ERRORS = (OSError, ValueError, TypeError, RuntimeError)
_LONGEST = 1000  # bytes of the chief's message


def repair_saving(model: keras.Model) -> None:
    """Make only the chief write a file, and the others wait until it is complete (fault 20)."""
    for name in ("save", "save_weights"):
        setattr(model, name, _written_once(model, getattr(model, name)))


def _written_once(model: keras.Model, save: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(save)
    strategy = model.distribute_strategy

    @functools.wraps(save)
    def run(*args: Any, **kwargs: Any) -> None:
        given = signature.bind(*args, **kwargs)
        values = _values_from_all_workers(model)
        try:
            if _replicas.is_chief(strategy):
                with _alone(values, strategy):
                    _write(save, given)
        except Exception as error:
            _agree(error, strategy)
            raise
        _agree(None, strategy)

    return run


def _values_from_all_workers(model: keras.Model) -> list[tuple[keras.Variable, tf.Tensor]]:
    """The variables that only all workers together can read, such as sums, with their values."""
    variables = [v for layer in all_layers(model) for v in layer.variables]
    variables += [v for layer in all_layers(model) for v in layer.metrics_variables]
    for optimizer in wrapped(getattr(model, "optimizer", None)):
        variables += [*optimizer.variables, *sums_of_parts(optimizer)]
    on_read = {
        id(variable): variable
        for variable in variables
        if getattr(variable.value, "synchronization", None) == tf.VariableSynchronization.ON_READ
    }
    with tf.device("CPU:0"):
        return [(v, tf.constant(v.numpy())) for v in on_read.values()]


@contextlib.contextmanager
def _alone(
    values: list[tuple[keras.Variable, tf.Tensor]], strategy: tf.distribute.Strategy
) -> Iterator[None]:
    """Keep the chief from waiting for the others: it reads what all have read before."""

    def reduce(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            "While a model is saved, a value cannot be reduced over workers, unless it is that of "
            "a variable that belongs to the model, to a metric or to the optimizer"
        )

    before = [(variable, variable._value) for variable, _ in values]
    vars(strategy)["reduce"] = reduce
    try:
        for variable, value in values:
            variable._value = value
        with tf.variable_creator_scope(_constant):
            yield
    finally:
        del vars(strategy)["reduce"]
        for variable, value in before:
            variable._value = value


def _constant(next_creator: Callable[..., Any], **kwargs: Any) -> tf.Tensor:
    """A constant in place of a variable, which in a scope all workers would create together.

    Keras creates an optimizer to see which attributes are not those of a subclass.
    """
    value = kwargs["initial_value"]
    return tf.convert_to_tensor(value() if callable(value) else value, kwargs.get("dtype"))


def _write(save: Callable[..., None], given: inspect.BoundArguments) -> None:
    """Save under another name first, so that no incomplete file has the name that is given."""
    path = _path_of_file(given.arguments)
    if path is None:
        save(*given.args, **given.kwargs)
        return
    part = path.with_name(f".{secrets.token_hex(8)}.{path.name}")
    given.arguments["filepath"] = str(part)
    with taking_the_place_of(path, part):
        save(*given.args, **given.kwargs)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())


def _path_of_file(arguments: Mapping[str, Any]) -> pathlib.Path | None:
    """The file that is written, or None if Keras must get the path as it is.

    Keras then raises an error, asks whether to overwrite, or writes several files or a device.
    """
    filepath = arguments.get("filepath")
    if not isinstance(filepath, (str, os.PathLike)) or not str(filepath).endswith(_SUFFIXES):
        return None
    if arguments.get("zipped") is False or arguments.get("max_shard_size") is not None:
        return None
    path = pathlib.Path(os.path.realpath(filepath))  # a link stays a link
    if path.exists() and not (path.is_file() and arguments.get("overwrite", True)):
        return None
    return path if os.access(path.parent, os.W_OK) else None


def _agree(error: Exception | None, strategy: tf.distribute.Strategy) -> None:
    """Wait for the chief. If it has an error, raise one on the others."""
    kind, message = 0, b""
    if error is not None:
        found = (i for i, kind in enumerate(_ERRORS) if isinstance(error, kind))
        kind = next(found, len(_ERRORS) - 1) + 1
        message = f"{type(error).__name__}: {error}".encode()[:_LONGEST]
    rows = _replicas.exchange((kind, *message.ljust(_LONGEST, b"\0")), strategy)
    kind, *numbers = max(rows)
    if kind and error is None:
        message = bytes(numbers).rstrip(b"\0")
        raise _ERRORS[kind - 1](
            "The first worker could not save the model. "
            f"Received: {message.decode(errors='ignore')}"
        )
