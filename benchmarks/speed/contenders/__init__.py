"""The contenders that are timed, from CSV files; the other modules of this folder build them.

Needs no framework, so the parent can tell which ones are not installed.
"""

import dataclasses
import importlib.util
import json
import pathlib
from typing import Any, NamedTuple

from benchmarks import files
from benchmarks.speed.formulas import LARS_FIELDS, Formula, Lars, lamb, momentum

_FOLDER = pathlib.Path(__file__).parent
_OTHERS: dict[str, Formula | None] = {"sgd": momentum, "lamb": lamb, "yardstick": None}
# The bytes per parameter that an update must move. LARS reads the weight and the gradient for the
# norms, then both and the velocity, and writes two. SGD needs no norms.
_BYTES = {"lars": 28, "sgd": 20}


class Framework(NamedTuple):
    module: str  # the module of this folder that builds its contenders
    backend: str  # Keras's backend, which is also the name of a module


BACKENDS = ("tensorflow", "jax", "torch")

FRAMEWORKS = {
    "tensorflow": Framework("on_tensorflow", "tensorflow"),
    "jax": Framework("on_jax", "jax"),
    "torch": Framework("on_torch", "torch"),
    "replicas": Framework("on_replicas", "tensorflow"),
    # A separate framework: beside other collectives in a process it failed with "shape mismatch".
    "all_reduce": Framework("on_replicas", "tensorflow"),
}


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to update variables."""

    framework: str  # whose worker runs it, one of `FRAMEWORKS`
    name: str  # in tables
    build: str  # the function of the framework's module that builds it
    role: str  # lars, sgd, lamb, or yardstick for what is no optimizer
    formula: Formula | None  # what it should compute; None for a yardstick
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)  # of `build`
    compared_to: str = ""  # the name of another contender
    needs: str = ""  # another module that must be installed
    main: bool = False  # whether it is one of the few that are also timed on the largest model
    slots: int = 1  # number of values that it keeps per parameter

    @property
    def key(self) -> str:
        return f"{self.framework}/{self.name}"

    @property
    def backend(self) -> str:
        return FRAMEWORKS[self.framework].backend

    @property
    def ours(self) -> bool:
        return self.name.startswith("keras_lars")

    @property
    def bytes_per_parameter(self) -> int | None:
        """The bytes that an update must move at least; None if that is not meaningful."""
        return _BYTES.get(self.role) if self.framework in BACKENDS else None

    @property
    def missing(self) -> str:
        """The name of a needed module that is not installed, or an empty string."""
        needs = filter(None, (self.backend, self.needs))
        return next((module for module in needs if not installed(module)), "")

    def state_bytes(self, parameters: int) -> int:
        """Bytes of weights and slots, without the gradients, which contenders share."""
        return 4 * parameters * (1 + self.slots)


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def arguments_of(cell: str) -> dict[str, Any]:
    """The arguments in a cell of a CSV file, such as `epsilon=0.01 nesterov=true names=a,b`."""
    words = (word.partition("=") for word in cell.split())
    return {name: _value(text) for name, _, text in words}


def _value(text: str) -> Any:
    if "," in text:
        return text.split(",")
    try:
        return json.loads(text)  # a number or a boolean
    except ValueError:
        return text


def _contender(line: dict[str, Any]) -> Contender:
    """The contender in a line of the CSV file, without the columns of its formula."""
    arguments = arguments_of(line.pop("arguments", ""))
    differences = {name: line.pop(name) for name in LARS_FIELDS if name in line}
    role = line["role"]
    formula = Lars.of({**arguments, **differences}) if role == "lars" else _OTHERS[role]
    return Contender(**line, formula=formula, arguments=arguments)


def _with_options(framework: str, options: dict[str, Any]) -> Contender:
    name = "keras_lars with " + ", ".join(f"{name}={x}" for name, x in options.items())
    arguments = {"optimizer": "LARS", **options}
    return Contender(framework, name, "keras", "lars", Lars.of(options), arguments)


_EVERY = [_contender(line) for line in files.csv_lines(_FOLDER / "contenders.csv", Contender, Lars)]
CONTENDERS = [contender for contender in _EVERY if contender.framework in BACKENDS]
# An optimizer on one replica, and on two without and with the all-reduce; and the all-reduce alone.
REPLICAS = [contender for contender in _EVERY if contender not in CONTENDERS]
# To be checked and not timed.
_OPTIONS = [arguments_of(line["arguments"]) for line in files.csv_lines(_FOLDER / "options.csv")]
OPTIONS = [_with_options(backend, options) for backend in BACKENDS for options in _OPTIONS]
