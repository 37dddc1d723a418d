"""Who is timed: one row a contender, as data; the modules beside this one build them.

Nothing here needs a framework, so that the parent can tell what is not installed.
"""

import dataclasses
import importlib.util
from typing import Any

from benchmarks.speed.formulas import Lamb, Lars, Momentum

# The bytes that an update cannot do without: LARS reads weight and gradient for the norms, then
# both and the velocity, and writes two; SGD needs no norms.
_BYTES = {"lars": 28, "sgd": 20}


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to update variables.

    Attributes:
        framework: The worker that runs it, one of `FRAMEWORKS`.
        name: What it is called in tables.
        role: "lars", "sgd", "lamb", or "yardstick" for what is no optimizer.
        kind: Which function of the framework's module builds it.
        rule: What it should compute, or None for a yardstick.
        arguments: Of that function.
        compared_to: The name of the contender of the same framework that ratios are taken to.
        needs: A further module that must be installed.
        ours: Whether it is `keras_lars`.
        main: Whether it is one of the few that are also timed on the largest model.
        grows: Whether it is timed on growing sizes too.
        slots: How many numbers it keeps for each parameter.
    """

    framework: str
    name: str
    role: str
    kind: str
    rule: Lars | Momentum | Lamb | None
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    compared_to: str = ""
    needs: str = ""
    ours: bool = False
    main: bool = False
    grows: bool = False
    slots: int = 1

    @property
    def key(self) -> str:
        return f"{self.framework}/{self.name}"

    @property
    def bytes_per_parameter(self) -> int | None:
        """What an update must move at least, or None where that says nothing."""
        return None if self.framework not in BACKENDS else _BYTES.get(self.role)

    def state_bytes(self, parameters: int) -> int:
        """Weights and slots, without the gradients, which contenders share."""
        return 4 * parameters * (1 + self.slots)


@dataclasses.dataclass(frozen=True)
class Framework:
    module: str  # the file beside this one that builds its contenders
    backend: str  # of Keras; a module of that name must be installed


BACKENDS = ("tensorflow", "jax", "torch")

FRAMEWORKS = {
    "tensorflow": Framework("on_tensorflow", "tensorflow"),
    "jax": Framework("on_jax", "jax"),
    "torch": Framework("on_torch", "torch"),
    "replicas": Framework("on_replicas", "tensorflow"),
    # By itself: beside other collectives of its process it failed with "shape mismatch".
    "all_reduce": Framework("on_replicas", "tensorflow"),
}


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _ours(framework: str, compared_to: str) -> list[Contender]:
    """LARS of this package in every momentum form."""
    forms = {
        "keras_lars": {},
        "keras_lars, nesterov": {"nesterov": True},
        "keras_lars, learning_rate_outside": {"momentum_form": "learning_rate_outside"},
        "keras_lars, ratio_outside": {"momentum_form": "ratio_outside"},
    }
    return [
        Contender(
            framework,
            name,
            "lars",
            "keras",
            Lars(arguments.get("momentum_form", "classic"), arguments.get("nesterov", False)),
            {"optimizer": "LARS", **arguments},
            compared_to,
            ours=True,
            main=not arguments,
            grows=not arguments,
        )
        for name, arguments in forms.items()
    ]


def _keras(framework: str, name: str, role: str, compared_to: str, **fields: Any) -> Contender:
    """An optimizer of Keras itself."""
    rule = Momentum() if role == "sgd" else Lamb()
    arguments = {"optimizer": "SGD" if role == "sgd" else "Lamb", **fields.pop("arguments", {})}
    slots = 1 if role == "sgd" else 2
    return Contender(
        framework, name, role, "keras", rule, arguments, compared_to, slots=slots, **fields
    )


_SGD_XLA, _SGD_JIT, _SGD_TORCH = "Keras SGD, XLA", "Keras SGD, jit", "Keras SGD"

TENSORFLOW = [
    *_ours("tensorflow", _SGD_XLA),
    Contender(
        "tensorflow",
        "keras_lars, plain",
        "lars",
        "keras",
        Lars(),
        {"optimizer": "LARS", "jit_compile": False},
        _SGD_XLA,
        ours=True,
        main=True,
    ),
    Contender(
        "tensorflow",
        "keras_lars, step under XLA",
        "lars",
        "keras",
        Lars(),
        {"optimizer": "LARS", "xla": True},
        _SGD_XLA,
        ours=True,
    ),
    _keras("tensorflow", "Keras SGD, graph", "sgd", _SGD_XLA, main=True),
    _keras("tensorflow", _SGD_XLA, "sgd", _SGD_XLA, arguments={"xla": True}, main=True, grows=True),
    _keras("tensorflow", "Keras Lamb, graph", "lamb", _SGD_XLA, main=True),
    _keras("tensorflow", "Keras Lamb, XLA", "lamb", _SGD_XLA, arguments={"xla": True}),
    Contender(
        "tensorflow",
        "TensorFlow momentum kernel",
        "sgd",
        "native",
        Momentum(),
        compared_to=_SGD_XLA,
        main=True,
    ),
]

JAX = [
    *_ours("jax", _SGD_JIT),
    _keras("jax", _SGD_JIT, "sgd", _SGD_JIT, main=True, grows=True),
    _keras("jax", "Keras Lamb, jit", "lamb", _SGD_JIT),
    Contender(
        "jax",
        "optax.lars, jit",
        "lars",
        "optax",
        Lars(decay_in_norm=True),
        compared_to=_SGD_JIT,
        needs="optax",
        main=True,
    ),
]

TORCH = [
    *_ours("torch", _SGD_TORCH),
    _keras("torch", _SGD_TORCH, "sgd", _SGD_TORCH, main=True, grows=True),
    _keras("torch", "Keras Lamb", "lamb", _SGD_TORCH),
    Contender(
        "torch",
        "timm Lars, foreach",
        "lars",
        "timm",
        Lars("learning_rate_outside", epsilon=1e-8),
        {"foreach": True},
        _SGD_TORCH,
        needs="timm",
        main=True,
    ),
    Contender(
        "torch",
        "timm Lars, one by one",
        "lars",
        "timm",
        Lars("learning_rate_outside", epsilon=1e-8),
        {"foreach": False},
        _SGD_TORCH,
        needs="timm",
    ),
    Contender(
        "torch",
        "pytorch_optimizer LARS, foreach",
        "lars",
        "pytorch_optimizer",
        Lars("learning_rate_outside", vectors="plain"),
        {"foreach": True},
        _SGD_TORCH,
        needs="pytorch_optimizer",
        main=True,
        slots=2,  # a gradient of its own besides the velocity
    ),
    Contender(
        "torch",
        "open_lars",
        "lars",
        "open_lars",
        Lars(vectors="decayed", epsilon=1e-8),
        compared_to=_SGD_TORCH,
        needs="open_lars",
    ),
    Contender(
        "torch",
        "torch SGD, fused",
        "sgd",
        "sgd",
        Momentum(),
        compared_to=_SGD_TORCH,
        main=True,
    ),
]

CONTENDERS = [*TENSORFLOW, *JAX, *TORCH]


def _replicas(role: str, optimizer: str, name: str) -> list[Contender]:
    alone = f"{name}, one replica"
    places = {
        alone: {"replicas": 1},
        f"{name}, two replicas, no all-reduce": {"replicas": 2, "all_reduce": False},
        f"{name}, two replicas": {"replicas": 2, "all_reduce": True},
    }
    return [
        Contender(
            "replicas",
            place,
            role,
            "update",
            Lars() if role == "lars" else Momentum(),
            {"optimizer": optimizer, **arguments},
            alone,
            ours=role == "lars",
            slots=1 if arguments["replicas"] == 1 else 3,
        )
        for place, arguments in places.items()
    ]


REPLICAS = [
    *_replicas("lars", "LARS", "keras_lars"),
    *_replicas("sgd", "SGD", "Keras SGD, graph"),
    Contender("all_reduce", "all-reduce alone", "yardstick", "all_reduce", None, slots=4),
]

BY_KEY = {contender.key: contender for contender in [*CONTENDERS, *REPLICAS]}
