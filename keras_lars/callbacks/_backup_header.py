"""The header of a backup: what it belongs to, and how far training has come."""

import json
from typing import Any, NamedTuple

from keras_lars._words import counted

VERSION = 2
_READABLE = (1, VERSION)
_LARGEST = 2**63 - 1


class Position(NamedTuple):
    """How far training has come, and which backup this is."""

    epoch: int = 0  # completed epochs
    batch: int = 0  # completed batches of the next epoch
    identity: int = 0  # a random number, different for each backup

    def described(self) -> str:
        """When it was, for a message. Epochs are counted from 1, as on Keras's progress bar."""
        if self.batch:
            return f"after {counted(self.batch, 'batch', 'batches')} of epoch {self.epoch + 1}"
        return f"at the end of epoch {self.epoch}" if self.epoch else "at the beginning"


class Header(NamedTuple):
    """What a backup says about itself."""

    position: Position
    replicas: int
    optimizer: str  # its class, and the classes of those that it wraps
    state: dict[str, str | int] | None = None  # what the numbers of LARS mean; None for others
    names: dict[str, list[str]] | None = None  # of the arrays, by kind; None in version 1
    learning_rate: float | None = None  # the constant one with which training began
    finished_epochs: int = 0  # the epochs of a training run that ended by itself; otherwise 0
    whole_epoch: int = 0  # the identity of the backup of the last whole epoch; 0 for none
    version: int = VERSION
    schedule: str | None = None  # of the learning rate, as JSON; None for others and in older files
    batches: int | None = None  # in an epoch; None if not known, and in older files


class LaterVersionError(ValueError):
    """The header is intact, but of a version that this package does not know."""


def encode(header: Header) -> bytes:
    """The header as JSON. The fields of the position are at the top level, as in version 1."""
    about = header._asdict()
    about.update(about.pop("position")._asdict())
    return json.dumps(about).encode()


def decode(data: bytes) -> Header:
    """The header from its JSON.

    Raises:
        ValueError: If it is not a header. The message says why.
    """
    try:
        about = json.loads(data.decode())
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    if not isinstance(about, dict):
        raise ValueError("its header is not a JSON object")
    version = _integer(about, "version", 1)
    if version not in _READABLE:
        raise LaterVersionError(f"version {version}")
    position = Position(*(_integer(about, name, 0) for name in Position._fields))
    header = Header(position, _integer(about, "replicas", 1), _text(about, "optimizer"))
    if version == 1:
        return header._replace(version=1)
    return header._replace(
        state=_state(about),
        names=_names(about),
        learning_rate=_number(about, "learning_rate"),
        finished_epochs=_integer(about, "finished_epochs", 0),
        whole_epoch=_integer(about, "whole_epoch", 0),
        schedule=None if about.get("schedule") is None else _text(about, "schedule"),
        batches=None if about.get("batches") is None else _integer(about, "batches", 1),
    )


def _value(about: dict[str, Any], name: str) -> Any:
    if name not in about:
        raise ValueError(f"its header lacks `{name}`")
    return about[name]


def _damaged(name: str, rule: str, value: object) -> ValueError:
    return ValueError(f"`{name}` of its header must be {rule}, but is {repr(value)[:80]}")


def _integer(about: dict[str, Any], name: str, minimum: int) -> int:
    value = _value(about, name)
    if type(value) is not int or not minimum <= value <= _LARGEST:
        raise _damaged(name, f"an integer from {minimum} to 2**63 - 1", _shown(value))
    return value


def _shown(value: object) -> object:
    """The value for a message. Python does not print integers of thousands of digits."""
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    return value


def _text(about: dict[str, Any], name: str) -> str:
    value = _value(about, name)
    if not isinstance(value, str):
        raise _damaged(name, "a string", value)
    return value


def _number(about: dict[str, Any], name: str) -> float | None:
    value = _value(about, name)
    if value is not None and type(value) is not float:
        raise _damaged(name, "a float or null", _shown(value))
    return value


def _state(about: dict[str, Any]) -> dict[str, str | int] | None:
    value = _value(about, "state")
    if value is not None and not isinstance(value, dict):
        raise _damaged("state", "an object or null", value)
    return value


def _names(about: dict[str, Any]) -> dict[str, list[str]]:
    value = _value(about, "names")
    is_good = isinstance(value, dict) and all(
        isinstance(names, list) and all(isinstance(name, str) for name in names)
        for names in value.values()
    )
    if not is_good:
        raise _damaged("names", "an object of lists of strings", value)
    return value
