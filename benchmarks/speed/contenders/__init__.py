"""The contenders that are timed, as data; the other modules of this folder build them.

Needs no framework, so the parent can tell which ones are not installed.
"""

import dataclasses
import importlib.util
import itertools
from typing import Any

from benchmarks.speed.formulas import Formula, Lamb, Lars, Momentum
from benchmarks.speed.variables import VECTORS

_ROLES = {Lars: "lars", Momentum: "sgd", Lamb: "lamb", type(None): "yardstick"}
# The bytes per parameter that an update must move. LARS reads the weight and the gradient for the
# norms, then both and the velocity, and writes two. SGD needs no norms.
_BYTES = {"lars": 28, "sgd": 20}


@dataclasses.dataclass(frozen=True)
class Framework:
    module: str  # the module of this folder that builds its contenders
    backend: str  # Keras's backend, which is also the name of a module
    baseline: str = ""  # the contender that others are compared to


BACKENDS = ("tensorflow", "jax", "torch")

FRAMEWORKS = {
    "tensorflow": Framework("on_tensorflow", "tensorflow", "Keras SGD, XLA"),
    "jax": Framework("on_jax", "jax", "Keras SGD, jit"),
    "torch": Framework("on_torch", "torch", "Keras SGD"),
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
    formula: Formula | None  # what it should compute; None for a yardstick, which is no optimizer
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)  # of `build`
    baseline: str = ""  # what it is compared to, if not to the framework's baseline
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
    def role(self) -> str:
        return _ROLES[type(self.formula)]

    @property
    def ours(self) -> bool:
        return self.name.startswith("keras_lars")

    @property
    def compared_to(self) -> str:
        return self.baseline or FRAMEWORKS[self.framework].baseline

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


def _keras(
    framework: str, name: str, optimizer: str = "LARS", main: bool = False, **arguments: Any
) -> Contender:
    """An optimizer of Keras or of this package."""
    formulas: dict[str, Formula] = {"SGD": Momentum(), "Lamb": Lamb()}
    formula = formulas.get(optimizer) or Lars.of(arguments)
    arguments["optimizer"] = optimizer
    slots = 2 if optimizer == "Lamb" else 1
    return Contender(framework, name, "keras", formula, arguments, main=main, slots=slots)


def _ours(framework: str) -> list[Contender]:
    """LARS of this package in every momentum form."""
    forms = ("learning_rate_outside", "ratio_outside")
    return [
        _keras(framework, "keras_lars", main=True),
        _keras(framework, "keras_lars, nesterov", nesterov=True),
        *(_keras(framework, f"keras_lars, {form}", momentum_form=form) for form in forms),
    ]


def _options(framework: str) -> list[Contender]:
    """LARS of this package with each option, to be checked and not timed.

    Options for norms of 0 are left out.
    """
    forms = ("classic", "learning_rate_outside", "ratio_outside", "ratio_of_update")
    rows: list[dict[str, Any]] = [
        *(
            {"momentum_form": form, "nesterov": nesterov, "decay_in_norm": in_norm}
            for form, nesterov, in_norm in itertools.product(forms, (False, True), (False, True))
            if in_norm or form != "ratio_of_update"
        ),
        {"epsilon": 0.01},
        {"trust_clip": True},
        {"momentum": 0},
        {"record_trust_ratios": True},
        {
            "unadapted_learning_rate_multiplier": 0.5,
            "exclude_from_layer_adaptation": [*VECTORS],
        },
        {"gradient_accumulation_steps": 2},
        {"gradient_accumulation_steps": 2, "record_noise_scale": True},
    ]

    def named(arguments: dict[str, Any]) -> str:
        return "keras_lars with " + ", ".join(f"{name}={x}" for name, x in arguments.items())

    return [_keras(framework, named(options), **options) for options in rows]


_TF, _TIMM = "tensorflow", Lars("learning_rate_outside", epsilon=1e-8)
CONTENDERS = [
    *_ours(_TF),
    _keras(_TF, "keras_lars, plain", main=True, jit_compile=False),
    _keras(_TF, "keras_lars, a cluster a variable", sharing="none"),
    _keras(_TF, "keras_lars, a cluster for eight alike", sharing="alike"),
    _keras(_TF, "keras_lars, a cluster for all", sharing="all"),
    _keras(_TF, "keras_lars, step under XLA", xla=True),
    _keras(_TF, "Keras SGD, graph", "SGD", main=True),
    _keras(_TF, "Keras SGD, XLA", "SGD", main=True, xla=True),
    _keras(_TF, "Keras Lamb, graph", "Lamb", main=True),
    _keras(_TF, "Keras Lamb, XLA", "Lamb", xla=True),
    Contender(_TF, "TensorFlow momentum kernel", "native", Momentum(), main=True),
    *_ours("jax"),
    _keras("jax", "Keras SGD, jit", "SGD", main=True),
    _keras("jax", "Keras Lamb, jit", "Lamb"),
    Contender(
        "jax", "optax.lars, jit", "optax", Lars(decay_in_norm=True), needs="optax", main=True
    ),
    *_ours("torch"),
    _keras("torch", "Keras SGD", "SGD", main=True),
    _keras("torch", "Keras Lamb", "Lamb"),
    Contender(
        "torch", "timm Lars, foreach", "timm", _TIMM, {"foreach": True}, needs="timm", main=True
    ),
    Contender("torch", "timm Lars, one by one", "timm", _TIMM, {"foreach": False}, needs="timm"),
    Contender(
        "torch",
        "pytorch_optimizer LARS, foreach",
        "lars",
        Lars("learning_rate_outside", exclude_from_layer_adaptation=VECTORS),
        {"package": "pytorch_optimizer", "overwrites_gradients": True, "foreach": True},
        needs="pytorch_optimizer",
        main=True,
        slots=2,  # it copies the gradient, besides the velocity
    ),
    Contender(
        "torch",
        "open_lars",
        "lars",
        Lars(epsilon=1e-8, exclude_from_layer_adaptation=VECTORS, exclude_from_weight_decay=()),
        {"package": "open_lars"},
        needs="open_lars",
    ),
    Contender("torch", "torch SGD, fused", "sgd", Momentum(), main=True),
]


def _replicas(name: str, optimizer: str, formula: Formula) -> list[Contender]:
    """An optimizer on one replica, and on two without and with the all-reduce."""
    one = f"{name}, one replica"

    def on(place: str, build: str, slots: int, **arguments: Any) -> Contender:
        arguments["optimizer"] = optimizer
        return Contender("replicas", place, build, formula, arguments, baseline=one, slots=slots)

    return [
        on(one, "keras", slots=1),
        on(f"{name}, two replicas, no all-reduce", "replicated", slots=3, all_reduce=False),
        on(f"{name}, two replicas", "replicated", slots=3, all_reduce=True),
    ]


REPLICAS = [
    *_replicas("keras_lars", "LARS", Lars()),
    *_replicas("Keras SGD, graph", "SGD", Momentum()),
    Contender("all_reduce", "all-reduce alone", "all_reduce", None, slots=4),
]

OPTIONS = [contender for backend in BACKENDS for contender in _options(backend)]
