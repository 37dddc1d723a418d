"""Code and commands on the pages are run, with a small network if the network does not matter."""

import ast
import pathlib
import re
import shlex
import sys
import zipfile
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import pages, peers
from support.helpers import (
    FORKED_PYTHON,
    SMALLEST_NETWORK,
    make_variables,
    run_command,
    run_steps,
)

import keras_lars
from keras_lars import _cluster

pytestmark = [pytest.mark.docs, pytest.mark.slow]

PAGE = pages.read("docs/distribution.md")
(SCRIPT,) = re.findall(r"<!-- a training on several machines -->\n```python\n(.+?)```", PAGE, re.S)
EXAMPLE, COMMANDS = re.findall(r"```bash\n(.+?)```", PAGE, re.S)
TINY = ["--model=alexnet_tiny", "--width=1", "--epochs=1", "--warmup_epochs=0"]


# --- several machines -----------------------------------------------------------------------------


def run(command, folder):
    """Run a command of the page with this Python in this folder."""
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    words += TINY if "benchmarks.train" in words else []
    assert words[1] == "-m"
    # `test_clusters_page` starts workers that are not forked.
    done = run_command(*words[2:], folder=folder, **{SMALLEST_NETWORK: "1", FORKED_PYTHON: "1"})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("command", COMMANDS.splitlines())
def test_the_commands_of_several_machines_run(command, tmp_path):
    pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
    (tmp_path / "training.py").write_text(SCRIPT, encoding="utf-8")
    output = run(command, tmp_path)
    if "benchmarks.train" in command:
        assert len(re.findall("% accuracy on the held-out images after 22 updates", output)) == 1
        assert len(list(tmp_path.glob("runs/*/result.json"))) == 1
    else:
        epochs = {line for line in output.splitlines() if re.search(r"Epoch \d", line)}
        assert epochs == {f"[worker {i}] Epoch {n}/4" for i in range(2) for n in range(1, 5)}
        # The backup of the finished training stays, although the script has saved its model.
        assert (tmp_path / "backup" / "backup.npz").exists()
        assert zipfile.is_zipfile(tmp_path / "model.keras")


def test_the_example_of_tf_config_is_read(monkeypatch):
    assert shlex.split(EXAMPLE)[2:] == ["python", "training.py"]
    monkeypatch.setenv(*shlex.split(EXAMPLE)[1].split("=", 1))
    found = _cluster.find()
    assert found.workers == ["node1:2222", "node2:2222"]
    assert found.is_chief


# --- the other blocks -----------------------------------------------------------------------------

# The blocks of a section share their names and run in order. Sections that are not in the table
# `SECTIONS` start with only the modules that the pages import.


def classifier():
    layers = [keras.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
    return {"model": keras.Sequential(layers)}


def trains(names, block):
    """Check a block that compiles the model."""
    expected = "LARS" if "keras_lars" in block.text else "SGD"
    assert type(names["model"].optimizer).__name__ == expected
    x, y = np.ones((8, 8, 8), "float32"), np.arange(8)
    history = names["model"].fit(x, y, epochs=1, batch_size=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def a_model_to_make():
    return {"make_model": lambda: classifier()["model"], "schedule": 1.0}


def classifier_and_data():
    return {**classifier(), "images": np.ones((8, 8, 8), "float32"), "labels": np.arange(8)}


def leaves_a_record(names, block):
    assert set(names["optimizer"].trust_ratios) == {v.path for v in names["model"].weights}
    assert pathlib.Path("run", "trust_ratios.csv").is_file()
    assert pathlib.Path("run", "tensorboard").is_dir()


def classifier_and_batches():
    """Four batches, one for each micro-batch."""
    return {**classifier(), "images": np.ones((128, 8, 8)), "labels": np.arange(128) % 10}


def leaves_a_measurement(names, block):
    assert len(pathlib.Path("run", "noise_scale.csv").read_text().splitlines()) == 1 + 3


NUMBERS = {
    **{"momentum": 0.9, "weight_decay": 0.1, "trust_coefficient": 0.02, "epsilon": 0.3},
    "weight_norm_floor": 3.5,  # 3.5 * sqrt(2) is just below the initial norm of the weight
}
GRADIENTS = [np.array([0.5, -1.0]), np.array([2.0, 1.0])]


def a_weight():
    names = {"norm": np.linalg.norm, "sqrt": np.sqrt, "learning_rate": 2.0, **NUMBERS}
    return {**names, "w": np.array([3.0, 4.0]), "g": GRADIENTS[0], "v": 0.0}


def a_weight_of_the_paper():
    return {**a_weight(), "epsilon": 0.0, "weight_norm_floor": 0.0}


def is_what_lars_does(names, block):
    """The printed rule, run twice, gives the same as two updates of `LARS`."""
    weights = [names["w"]]
    exec(block.text, names := {**names, "g": GRADIENTS[1]})
    weights.append(names["w"])
    numbers = {name: names[name] for name in NUMBERS}
    optimizer = keras_lars.LARS(2.0, exclude_from_weight_decay=[], **numbers)
    variables = make_variables({"w": a_weight()["w"]})
    steps = run_steps(optimizer, variables, [[gradient] for gradient in GRADIENTS])
    for expected, ((actual,), _) in zip(weights, steps, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-6)


def model_with_embedding():
    layers = [keras.layers.Dense(2, name=name) for name in ("first", "embedding")]
    return {"model": keras.Sequential([keras.Input((3,)), *layers])}


def excludes(names, block):
    names["_"].build(names["model"].trainable_variables)
    table = {row.path: row for row in names["_"].variable_table()}
    rules = {path.split("/", 1)[1]: row.decay_rule for path, row in table.items()}
    assert rules["first/kernel"].startswith("variable ")
    assert rules["embedding/kernel"] == "'embedding'"
    assert [row.adapted for row in table.values()] == [True, False, True, False]


def lengths():
    return {"decay_steps": 8, "warmup_steps": 2}


def ramps(names, block):
    rates = [float(names["schedule"](step)) for step in (0, 2, 10)]
    np.testing.assert_allclose(rates, [0, 29, 1e-4], rtol=1e-5)


def rises_and_falls(names, block):
    schedule = names["schedule"]
    assert schedule.updates == 20 * 15
    rates = [float(schedule(step)) for step in (0, schedule.warmup_updates, schedule.updates)]
    peak = names["found"].learning_rate if "found" in names else 4 * 2**2.5
    np.testing.assert_allclose(rates, [0, peak, 0], rtol=1e-5, atol=1e-6)


def normalized_and_data():
    images, labels = np.arange(128.0).reshape(8, 16), np.arange(8)
    normalization = keras.layers.BatchNormalization(name="normalization")
    layers = [keras.Input((16,)), normalization, keras.layers.Dense(10, "softmax")]
    model = keras.Sequential(layers)
    model.compile(keras_lars.LARS(), "sparse_categorical_crossentropy")
    return {"model": model, "images": images, "labels": labels}


def a_model_to_test():
    lengths = {"samples": 60_000, "epochs": 20, "global_batch_size": 4096}
    return {**normalized_and_data(), **lengths}


def has_the_statistics_of_its_images(names, block):
    if "fit" not in block.text:
        return
    mean = names["model"].get_layer("normalization").moving_mean
    np.testing.assert_allclose(mean, names["images"].mean(axis=0), rtol=1e-5)


def probes_as_the_table_says(names, block):
    (peer,) = [peer for peer in peers.PEERS if peer.name == "MAE, linear probe"]
    lars = keras_lars.LARS(names["rate"], **peer.options())
    assert names["model"].optimizer.get_config() == {**lars.get_config(), "name": mock.ANY}
    assert names["rate"].peak == 6.4


def momentum_of_another():
    buffers = [np.full((8, 8), 2.0), np.full(8, 3.0)]
    variables = make_variables({"kernel": np.ones((8, 8)), "bias": np.ones(8)})
    optimizer = keras_lars.LARS(1.0)
    return {"optimizer": optimizer, "variables": variables, "buffers": buffers, "updates_so_far": 7}


def has_its_momentum(names, block):
    optimizer = names["optimizer"]
    for velocity, buffer in zip(optimizer.momentums, names["buffers"], strict=True):
        np.testing.assert_array_equal(velocity, buffer)
    assert int(optimizer.iterations) == 7
    accumulating = keras_lars.LARS(1.0, gradient_accumulation_steps=4)
    accumulating.build(names["variables"])
    accumulating.variables[0].assign(4 * 7)
    assert int(accumulating.iterations) == 7


def pictures():
    """In place of Fashion-MNIST: as many classes, and few pictures."""
    images = np.random.default_rng(0).integers(256, size=(64, 28, 28), dtype=np.uint8)
    return (images, np.arange(64, dtype=np.uint8) % 10), (images[:8], np.arange(8, dtype=np.uint8))


def trains_and_saves(names, block):
    assert f"# {keras_lars.schedules.for_fit(60_000, 8, 1024)!r}" in block.text
    assert names["model"].optimizer.iterations == names["schedule"].updates == 8
    assert np.isfinite(names["loss"])
    assert pathlib.Path("fashion.keras").is_file()


def a_saved_model():
    model = classifier()["model"]
    model.compile(keras_lars.LARS(), "sparse_categorical_crossentropy")
    model.save("fashion.keras")
    return {"images": np.ones((8, 8, 8)), "epochs": 8, "batch_size": 1024}


# For each heading: the initial names of its blocks, and the check after each block.
SECTIONS = {
    ("docs/first_training.md", "A first training run"): (dict, trains_and_saves),
    ("docs/first_training.md", "The usual mistakes"): (a_saved_model, trains),
    ("docs/migration.md", "In mid-run"): (momentum_of_another, has_its_momentum),
    ("README.md", "Before and after"): (classifier, trains),
    ("README.md", "The rule"): (a_weight_of_the_paper, is_what_lars_does),
    ("README.md", "Several GPUs"): (a_model_to_make, trains),
    ("docs/monitoring.md", "Look inside"): (classifier_and_data, leaves_a_record),
    ("docs/learning_rate.md", "How much further the batch can grow"): (
        classifier_and_batches,
        leaves_a_measurement,
    ),
    ("docs/update_rule.md", "The update rule and its options"): (a_weight, is_what_lars_does),
    ("docs/exclusions.md", "Exclusions"): (model_with_embedding, excludes),
    ("docs/learning_rate.md", "The learning rate"): (dict, rises_and_falls),
    ("docs/learning_rate.md", "The range test"): (a_model_to_test, rises_and_falls),
    ("docs/batch_statistics.md", "Batch statistics"): (
        normalized_and_data,
        has_the_statistics_of_its_images,
    ),
    ("docs/learning_rate.md", "Schedules"): (lengths, ramps),
    ("docs/linear_probing.md", "Linear probing"): (dict, probes_as_the_table_says),
}

# `support.backend_page_checks` runs those of other backends.
BLOCKS = [
    block
    for block in pages.blocks("python")
    if block.text + "\n" != SCRIPT and pages.other_backend(block) is None
]


def execute(block, names):
    """Run a block. The value of an expression at its end becomes the name `_`."""
    tree = ast.parse(block.text)
    if isinstance(tree.body[-1], ast.Expr):
        tree.body[-1] = ast.Assign([ast.Name("_", ast.Store())], tree.body[-1].value)
    exec(compile(ast.fix_missing_locations(tree), block.section, "exec"), names)


@pytest.mark.filterwarnings("ignore:`fit` makes 2 batches", "ignore:`fit` will make only 8")
@pytest.mark.parametrize(
    "section", dict.fromkeys(block[:2] for block in BLOCKS), ids=lambda section: section[1]
)
def test_blocks_run(section, tmp_path, monkeypatch, strategy):
    monkeypatch.chdir(tmp_path)  # since blocks write files
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: strategy)
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", pictures)
    make_names, check = SECTIONS.get(section, (dict, None))
    names = {"keras": keras, "keras_lars": keras_lars, **make_names()}
    for block in BLOCKS:
        if block[:2] == section:
            execute(block, names)
            if check:
                check(names, block)


def test_every_listed_section_has_blocks():
    assert SECTIONS.keys() <= {block[:2] for block in BLOCKS}
    others = [block for block in pages.blocks("python") if pages.other_backend(block)]
    assert len(BLOCKS) == len(pages.blocks("python")) - 1 - len(others)
