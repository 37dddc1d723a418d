"""CSV files whose lines are objects of a dataclass."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks import files
from benchmarks.settings import kind_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Kind = TypeVar("Kind", bound="DataclassInstance")


def read(path: pathlib.Path, kind: type[Kind]) -> dict[tuple[str, ...], Kind]:
    """The objects in the lines of a CSV file, by the columns that are not fields of their class.

    Several values are separated by spaces. What is blank is as the defaults of the class have it.
    """
    fields = {field.name: kind_of(field) for field in dataclasses.fields(kind)}
    found = {}
    for line in files.csv_lines(path):
        key = tuple(text for name, text in line.items() if name not in fields)
        given = {name: text for name, text in line.items() if name in fields and text}
        found[key] = kind(**{name: _value(text, *fields[name]) for name, text in given.items()})
    return found


def _value(text: str, kind: type, several: bool) -> Any:
    return tuple(map(kind, text.split())) if several else kind(text)
