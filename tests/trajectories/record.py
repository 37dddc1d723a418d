"""Records the results of other implementations of LARS, in float64, for `test_peers.py`.

    pip install "jax[cpu]" torch tensorflow optax timm pytorch_optimizer open-lars
    pip install --no-deps tf-models-official tf_keras lightning-bolts lightly
    python tests/trajectories/record.py

writes a JSON file for each of them beside this script, with the same bytes for the same versions.
For packages that are not installed, it prints a message and keeps their files. From each package of
the second line it loads only one module, since the others need many more packages.
"""

import importlib
import importlib.metadata
import json
import pathlib
import platform
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import problem

HERE = pathlib.Path(__file__).parent
MOMENTUM, WEIGHT_DECAY = 0.9, 0.05

Steps = Iterator[tuple[list, list]]  # weights and velocities after each step


def module_of(distribution: str, name: str) -> Any:
    """One module of an installed package, without the imports of its parent packages."""
    *parents, _ = name.split(".")
    for depth in range(1, len(parents) + 1):
        folder = "/".join(parents[:depth])
        package = types.ModuleType(".".join(parents[:depth]))
        package.__path__ = [str(importlib.metadata.distribution(distribution).locate_file(folder))]
        sys.modules[package.__name__] = package
    return importlib.import_module(name)


# The frameworks. Each function yields weights and velocities after every step.


def torch_steps(make: Callable, arguments: dict, learning_rates: list[float]) -> Steps:
    import torch

    weights = [torch.nn.Parameter(torch.tensor(w)) for w in problem.weights()]
    optimizer = make(weights, lr=learning_rates[0], **arguments)
    for row, learning_rate in zip(problem.gradients(), learning_rates, strict=True):
        for weight, gradient in zip(weights, row, strict=True):
            weight.grad = torch.tensor(gradient)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
        states = [optimizer.state[weight] for weight in weights]
        named = [state.get("momentum_buffer") for state in states]
        yield arrays(w.detach() for w in weights), arrays(named)


def jax_steps(make: Callable, arguments: dict, learning_rates: list[float]) -> Steps:
    import jax
    import jax.numpy as jnp
    import optax

    jax.config.update("jax_enable_x64", True)
    rates = jnp.array(learning_rates)
    optimizer = make(lambda count: rates[count], **arguments)
    weights = [jnp.array(w) for w in problem.weights()]
    state = optimizer.init(weights)
    for row in problem.gradients():
        updates, state = optimizer.update([jnp.array(g) for g in row], state, weights)
        weights = optax.apply_updates(weights, updates)
        traces = [part.trace for part in state if hasattr(part, "trace")]
        # Its trace is the negative velocity.
        yield arrays(weights), [-np.asarray(v) for v in traces[0]]


def tensorflow_steps(make: Callable, arguments: dict, learning_rates: list[float]) -> Steps:
    import tensorflow as tf
    import tf_keras

    tf_keras.backend.set_floatx("float64")
    names = problem.SHAPES
    weights = [tf.Variable(w, name=name) for name, w in zip(names, problem.weights())]
    optimizer = make(learning_rate=learning_rates[0], **arguments)
    for row, learning_rate in zip(problem.gradients(), learning_rates, strict=True):
        optimizer.learning_rate = learning_rate
        optimizer.apply_gradients(zip([tf.constant(g) for g in row], weights))
        yield arrays(weights), arrays(optimizer.get_slot(w, "momentum") for w in weights)


def arrays(values: Any) -> list[np.ndarray]:
    return [np.asarray(value).copy() for value in values]


# The peers: the class, its packages, and the arguments of each recording.


def optax_lars() -> Callable:
    import optax

    return optax.lars


def timm_lars() -> Callable:
    return module_of("timm", "timm.optim.lars").Lars


def pytorch_optimizer_lars() -> Callable:
    import pytorch_optimizer

    return pytorch_optimizer.LARS


def open_lars() -> Callable:
    import open_lars

    return open_lars.LARS


def tf_models_lars() -> Callable:
    return module_of("tf-models-official", "official.modeling.optimization.lars").LARS


def bolts_lars() -> Callable:
    # Replace a decorator that only warns, and a constant that torch no longer has.
    stability = types.ModuleType("pl_bolts.utils.stability")
    stability.under_review = lambda: lambda cls: cls
    sys.modules["pl_bolts.utils.stability"] = stability
    from torch.optim import optimizer

    if not hasattr(optimizer, "required"):
        optimizer.required = object()
    return module_of("lightning-bolts", "pl_bolts.optimizers.lars").LARS


def lightly_lars() -> Callable:
    return module_of("lightly", "lightly.utils.lars").LARS


def common(**more: Any) -> dict:
    return {"momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY, **more}


def of_tf_models(**more: Any) -> dict:
    excluded = {"exclude_from_weight_decay": ["vector"], "exclude_from_layer_adaptation": ["twin"]}
    return {"momentum": MOMENTUM, "weight_decay_rate": WEIGHT_DECAY, **excluded, **more}


# name: (steps, make, packages, [(label, arguments, peak learning rate)])
PEERS = {
    "optax": (
        jax_steps,
        optax_lars,
        ("optax", "jax"),
        [
            ("plain", common(nesterov=False), 8.0),
            ("nesterov", common(nesterov=True), 8.0),
            ("no decay", common(weight_decay=0.0), 8.0),
            ("no momentum", common(momentum=0.0, eps=0.01), 8.0),
        ],
    ),
    "timm": (
        torch_steps,
        timm_lars,
        ("timm", "torch"),
        [
            ("lars", common(), 8.0),
            ("larc", common(trust_clip=True, trust_coeff=0.02), 0.5),
            ("nlars", common(nesterov=True), 8.0),
            ("nlarc", common(nesterov=True, trust_clip=True, trust_coeff=0.02), 4.0),
            ("no decay", common(weight_decay=0.0), 0.25),
            ("always adapted", common(weight_decay=0.0, always_adapt=True), 8.0),
        ],
    ),
    "pytorch_optimizer": (
        torch_steps,
        pytorch_optimizer_lars,
        ("pytorch_optimizer", "torch"),
        [
            ("plain", common(), 8.0),
            ("nesterov", common(nesterov=True), 8.0),
            ("no decay", common(weight_decay=0.0), 8.0),
        ],
    ),
    "open_lars": (
        torch_steps,
        open_lars,
        ("open-lars", "torch"),
        [("plain", common(), 8.0), ("no decay", common(weight_decay=0.0), 8.0)],
    ),
    "tf_models": (
        tensorflow_steps,
        tf_models_lars,
        ("tf-models-official", "tf_keras", "tensorflow"),
        [
            ("classic", of_tf_models(), 8.0),
            ("classic, nesterov", of_tf_models(nesterov=True), 8.0),
            ("popular", of_tf_models(classic_momentum=False), 8.0),
            ("popular, nesterov", of_tf_models(classic_momentum=False, nesterov=True), 8.0),
        ],
    ),
    "lightning_bolts": (
        torch_steps,
        bolts_lars,
        ("lightning-bolts", "torch"),
        [
            ("plain", common(), 8.0),
            ("nesterov", common(nesterov=True), 8.0),
            ("no decay", common(weight_decay=0.0), 0.25),
        ],
    ),
    "lightly": (
        torch_steps,
        lightly_lars,
        ("lightly", "torch"),
        [
            ("plain", common(), 8.0),
            ("nesterov", common(nesterov=True), 8.0),
            ("no decay", common(weight_decay=0.0), 0.25),
        ],
    ),
}


def record(name: str) -> dict:
    steps, make, packages, cases = PEERS[name]
    made = make()
    versions = {package: importlib.metadata.version(package) for package in packages}
    recordings = []
    for label, arguments, peak in cases:
        learning_rates = problem.learning_rates(peak)
        if steps is tensorflow_steps:  # its learning rate is always stored in float32
            learning_rates = [float(np.float32(rate)) for rate in learning_rates]
        weights, velocities = zip(*steps(made, arguments, learning_rates), strict=True)
        recordings.append(
            {
                "label": label,
                "arguments": arguments,
                "peak_learning_rate": peak,
                "learning_rates": learning_rates,
                "weights": [flat(row) for row in weights],
                "velocities": [flat(row) for row in velocities] if arguments["momentum"] else None,
            }
        )
    return {
        "versions": {**versions, "python": platform.python_version(), "numpy": np.__version__},
        "recordings": recordings,
    }


def flat(row: list[np.ndarray]) -> list[float]:
    """The elements of all tensors, in order."""
    return np.concatenate([x.reshape(-1) for x in row]).tolist()


def main() -> None:
    for name in PEERS:
        try:
            recorded = record(name)
        except (ImportError, FileNotFoundError) as error:
            print(f"{name}: not recorded, since something is not installed: {error}")
            continue
        lines = ",\n".join(json.dumps(each) for each in recorded["recordings"])
        versions = json.dumps(recorded["versions"])
        text = f'{{"versions": {versions},\n"recordings": [\n{lines}\n]}}\n'
        (HERE / f"{name}.json").write_text(text, encoding="utf-8")
        print(f"{name}: {len(recorded['recordings'])} recordings")


if __name__ == "__main__":
    main()
