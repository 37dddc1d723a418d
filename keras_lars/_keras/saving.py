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


def repair_saving(model: keras.Model) -> None:
    """Make only the chief write a file (fault 20).

    The others do not wait for it. Many programs save on the chief alone, which would wait forever
    for workers that wait for it in the next update.
    """
    for name in ("save", "save_weights"):
        setattr(model, name, _written_once(model, getattr(model, name)))


def _written_once(model: keras.Model, save: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(save)
    strategy = model.distribute_strategy

    @functools.wraps(save)
    def run(*args: object, **kwargs: object) -> None:
        given = signature.bind(*args, **kwargs)
        values = _values_from_all_workers(model)
        if _replicas.is_chief(strategy):
            with _alone(values, strategy):
                _write(save, given)

    return run


def _values_from_all_workers(model: keras.Model) -> list[tuple[keras.Variable, tf.Tensor]]:
    """The variables that only all workers together can read, such as sums, with their values.

    The metrics of `compile` are not saved, and so not read.
    """
    variables = [v for layer in all_layers(model) for v in layer.variables]
    of_compile = (getattr(model, name, None) for name in ("_loss_tracker", "_compile_metrics"))
    not_saved = {id(v) for metric in of_compile for v in getattr(metric, "variables", ())}
    metrics = [v for layer in all_layers(model) for v in layer.metrics_variables]
    variables += [v for v in metrics if id(v) not in not_saved]
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

    def reduce(*args: object, **kwargs: object) -> None:
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


def _constant(next_creator: Callable[..., Any], **kwargs: object) -> tf.Tensor:
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
