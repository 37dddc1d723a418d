"""Compares ours with the recordings of other implementations, and with their formulas.

Learning rates are float64 too, so Keras is configured before anything uses it.
`python trajectory_script.py result.json` writes "ok" or the traceback for each comparison.
"""

import functools
import json
import pathlib
import sys

import keras

keras.config.set_floatx("float64")

import numpy as np  # noqa: E402

import keras_lars  # noqa: E402
from support import peer_formulas  # noqa: E402
from support.helpers import make_variables, report_checks, run_steps  # noqa: E402
from support.models import make_variable  # noqa: E402
from support.peer_formulas import FORMULAS  # noqa: E402
from support.peers import BY_NAME, COMPARED, RECORDED  # noqa: E402

FOLDER = pathlib.Path(__file__).parents[1] / "trajectories"
sys.path.append(str(FOLDER))
import problem  # noqa: E402

# One recording of each form is compared with compilation. The others run as plain operations, which
# is quicker. Other tests compare the two.
COMPILED = {("optax", "nesterov"), ("timm", "nlarc"), ("tf_models", "popular, nesterov")}


def recordings(file):
    return json.loads((FOLDER / f"{file}.json").read_text(encoding="utf-8"))["recordings"]


def ours(file, label, learning_rates, dtype="float64"):
    """Our weights and velocities after each step, as one array each."""
    name, changed = RECORDED[file, label]
    variables = make_variables(dict(zip(problem.SHAPES, problem.weights())), dtype)
    jit_compile = "auto" if (file, label) in COMPILED else False
    options = BY_NAME[name].options(**changed)
    optimizer = keras_lars.LARS(learning_rates[0], jit_compile=jit_compile, **options)
    for weights, velocities in run_steps(optimizer, variables, problem.gradients(), learning_rates):
        yield [
            np.concatenate([x.reshape(-1) for x in row] or [[]]) for row in (weights, velocities)
        ]


def compare(file, label, dtype, tolerance):
    (recording,) = [each for each in recordings(file) if each["label"] == label]
    rates = recording["learning_rates"]
    assert len(rates) == problem.STEPS >= 12
    velocities = recording["velocities"] or [[]] * len(rates)
    for step, (w, v) in enumerate(ours(file, label, rates, dtype)):
        for kind, got, wanted in (("w", w, recording["weights"][step]), ("v", v, velocities[step])):
            if len(wanted):
                wanted = np.array(wanted)
                largest = np.max(np.abs(wanted))
                np.testing.assert_allclose(
                    got, wanted, rtol=tolerance, atol=tolerance * largest, err_msg=f"{kind} {step}"
                )


SHAPES = {
    "a/kernel": (3, 2),
    "b/kernel": (3, 2),
    "a/bias": (4,),
    "b/gamma": (4,),
    "zero/kernel": (3, 2),
}
# MXNet's velocity contains the learning rate, and ours for Barlow Twins the multiplier. The weights
# are the same.
OTHER_VELOCITY = {"MXNet LARS", "Barlow Twins"}


def follow(name):
    """Ours agrees with the formula that was written from a description."""
    formula, changed = FORMULAS[name]
    random = np.random.default_rng(3)
    arrays = {path: random.normal(size=shape) for path, shape in SHAPES.items()}
    arrays["zero/kernel"] *= 0
    rows = [[random.normal(size=shape) for shape in SHAPES.values()] for _ in range(problem.STEPS)]
    rows[problem.WITHOUT_GRADIENT] = [0 * g for g in rows[problem.WITHOUT_GRADIENT]]
    options = BY_NAME[name].options(**{"weight_decay": peer_formulas.DECAY, **changed})
    # Large enough that apex clips at some of these rates and not at others.
    rates = problem.learning_rates(1.5)
    optimizer = keras_lars.LARS(rates[0], jit_compile=False, **options)
    variables = [make_variable(path, w, "float64") for path, w in arrays.items()]
    states = [(w, np.zeros_like(w)) for w in arrays.values()]
    before = rates[0]
    steps = run_steps(optimizer, variables, rows, rates)
    for row, rate, (weights, velocities) in zip(rows, rates, steps, strict=True):
        states = [
            formula(w, g, v, rate, before, path)
            for path, g, (w, v) in zip(SHAPES, row, states, strict=True)
        ]
        before = rate
        for got, (wanted, _) in zip(weights, states, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
        if name not in OTHER_VELOCITY:
            for got, (_, wanted) in zip(velocities, states, strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


def checks():
    """The checks by name."""
    for file, label, dtype in COMPARED:
        arguments = (file, label, dtype, {"float64": 1e-12, "float32": 1e-5}[dtype])
        yield f"{file}, {label}, {dtype}", functools.partial(compare, *arguments)
    for name in FORMULAS:
        yield name, functools.partial(follow, name)


if __name__ == "__main__":
    report_checks(dict(checks()), sys.argv[1])
