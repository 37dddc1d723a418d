"""Training learns, and the commands report mistakes in one line."""

import concurrent.futures
import csv
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time

import keras
import pytest
from support import RESULTS, ROOT
from support.helpers import NUMBER_FILE, SMALLEST_NETWORK, environment, run_command

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the benchmarks run on TensorFlow", allow_module_level=True)

from benchmarks import collect, loop, models, optimizers, plan, recipe, recipes
from benchmarks.recipe import Execution

FILES = ["config.json", "history.csv", "history.json", "model.keras", "plot.png", "result.json"]


# The quick start in a few seconds: few blocks, few epochs.
TINY = {"model": "resnet_tiny", "width": 0.125, "epochs": 5, "warmup_epochs": 1.0}
FLAGS = [f"--{name}={value}" for name, value in TINY.items()]
# For tests in which the network does not matter.
SMALLEST = ["--model=alexnet_tiny", "--width=1"]
IN_SMALLEST = {SMALLEST_NETWORK: "1"}


def command(module, *arguments, **variables):
    return run_command(f"benchmarks.{module}", *arguments, **variables)


def train(asked, folder):
    return loop.train(asked, Execution(output_dir=str(folder)))


# --- refusals -------------------------------------------------------------------------------------


def test_recipes_know_the_names_in_the_tables():
    assert tuple(models.MODELS) == recipe.MODELS
    assert tuple(optimizers.EXCLUSIONS) == recipe.EXCLUSIONS


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "vgg"}, "--model must be one of resnet50, .*. Received: vgg"),
        ({"data": "cats"}, "--data must be one of"),
        ({"optimizer": "adam"}, "--optimizer must be one of"),
        ({"epochs": 0}, "--epochs must be at least 1 and below 1000000. Rec"),
        ({"global_batch_size": 0}, "--global_batch_size must be"),
        ({"learning_rate": float("nan")}, "--learning_rate must be"),
        ({"learning_rate": float("inf")}, "--learning_rate must be"),
        ({"learning_rate": 1e39}, "--learning_rate must be .* at least 0 and below 3.4e.38. Rec"),
        ({"momentum": 1.0}, "--momentum must be .* at least 0 and below 1. Received: 1.0"),
        ({"width": 0.0}, "--width must be"),
        ({"seed": -1}, "--seed must be"),
        ({"global_batch_size": 1438}, "--global_batch_size must be at most 1437, the number"),
        ({"epochs": 2, "warmup_epochs": 2}, "--warmup_epochs must be less than --epochs"),
    ],
)
def test_impossible_recipes_are_refused(fields, message, tmp_path):
    with pytest.raises(recipe.RecipeError, match=message) as error:
        train(recipes.override(**fields), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("here")
    for folder in (tmp_path, tmp_path / "precious", tmp_path / "precious" / "run"):
        with pytest.raises(recipe.RecipeError, match="--output_dir"):
            train(recipes.override(**TINY), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


# --- training -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run, its result, and what the command printed."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    done = command("train", *FLAGS, f"--output_dir={folder}", "--resume")
    assert done.returncode == 0, done.stderr[-4000:]
    return folder, json.loads((folder / "result.json").read_text()), done.stdout


@pytest.mark.slow
def test_run_folder(run):
    folder, *_ = run
    assert sorted(path.name for path in folder.iterdir()) == FILES
    config = json.loads((folder / "config.json").read_text())
    assert config["recipe"] == dataclasses.asdict(recipes.override(**TINY))
    assert config["updates"] == 110
    assert config["versions"]["keras"] == keras.__version__
    assert config["device"]["backend"] == "tensorflow"
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_history(run):
    folder, result, _ = run
    history = json.loads((folder / "history.json").read_text())
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    for name, values in history.items():
        assert [float(row[name]) for row in rows] == values
    assert history["val_accuracy"][1] == result["validation_accuracy_at_half_time"]
    assert history["val_accuracy"][-1] == result["validation_accuracy"]
    # The rate of the last update in each epoch of 22: one of warm-up, then four of decay.
    rates = [4 * 21 / 22, *(4 * (1 - (22 * epoch - 1) / 88) ** 2 for epoch in range(1, 5))]
    assert history["learning_rate"] == pytest.approx(rates, rel=1e-5)


@pytest.mark.slow
def test_the_saved_model_is_the_trained_one(run):
    folder, result, _ = run
    model = keras.saving.load_model(folder / "model.keras")
    assert int(model.optimizer.iterations) == 110
    made = plan.make_plan(recipes.override(**TINY), Execution())
    batches = made.data_set.validation(made.view, 64)
    accuracy = model.evaluate(batches, verbose=0, return_dict=True)["accuracy"]
    assert accuracy == pytest.approx(result["validation_accuracy"])


def test_it_learns(run):
    assert run[1]["validation_accuracy"] > 0.6


def test_train_prints_its_plan_and_its_result(run):
    *_, said = run
    lines = said.strip().split("\n")
    assert lines[0].startswith("model         resnet_tiny of width 0.125, 9 convolutions, ")
    assert "110 updates" in said
    assert re.fullmatch(r"\d+\.\d% accuracy on the held-out images after 110 updates .*", lines[-1])


def test_a_finished_run_is_not_trained_again(run):
    folder, *_ = run
    again = command("train", *FLAGS, f"--output_dir={folder}", "--resume")
    assert again.returncode == 0
    assert again.stdout == f"already finished; see {folder}\n"


# --- the commands ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--model=vgg", "error: flag --model=vgg: value should be one of <resnet50.*alexnet_tiny>"),
        ("--epochs=many", "error: flag --epochs=many: .*"),
        ("--epoch=1", "error: Unknown command line flag 'epoch'.*"),
        ("extra", "error: unknown argument extra"),
        ("--global_batch_size=2000", "error: --global_batch_size must be at most 1437, .*"),
        ("--warmup_epochs=100", "error: --warmup_epochs must be less than --epochs, .*"),
    ],
)
def test_a_wrong_flag_gives_a_one_line_error(argument, message, tmp_path):
    done = command("train", argument, f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(message, done.stderr.strip())
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_gives_a_one_line_error(tmp_path):
    (tmp_path / "file").write_text("")
    done = command("train", f"--output_dir={tmp_path / 'file' / 'run'}")
    assert done.returncode == 1
    assert re.fullmatch("error: --output_dir cannot be written. Received: .*", done.stderr.strip())


@pytest.mark.slow
def test_exit_status_of_a_divergence(tmp_path):
    flags = ("--optimizer=sgd", "--learning_rate=1e25", "--epochs=1", "--warmup_epochs=0")
    flags = [*FLAGS, *SMALLEST, *flags, f"--output_dir={tmp_path / 'run'}"]
    done = command("train", *flags, **IN_SMALLEST)
    assert done.returncode == 3, done.stderr[-4000:]
    last = done.stdout.strip().split("\n")[-1]
    assert last.startswith("diverged: the loss was not finite at update ")
    assert " of 22, in epoch 1 of 1;" in last
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["validation_accuracy_at_half_time"] is None  # one epoch has no halfway point


@pytest.mark.slow
def test_exit_status_of_an_interruption(tmp_path):
    """As a scheduler does: it sends SIGTERM, and later runs the same command again."""
    folder, number = tmp_path / "run", tmp_path / "number"
    flags = [*FLAGS, *SMALLEST, "--epochs=1000", "--backup_every_updates=1"]
    flags += [f"--output_dir={folder}", "--resume"]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        variables = {NUMBER_FILE: str(number), **IN_SMALLEST}
        done = pool.submit(command, "train", *flags, **variables)
        while not (folder / "backup" / "backup.npz").exists() and not done.done():
            time.sleep(0.05)
        os.kill(int(number.read_text()), signal.SIGTERM)
        interrupted = done.result()
    assert interrupted.returncode == 75, interrupted.stderr[-4000:]
    message = re.search(
        r"interrupted by SIGTERM after update (\d+), saved; to continue, .*", interrupted.stderr
    )
    assert message[0].endswith(f"--resume --output_dir={folder}")
    assert not (folder / "result.json").exists()
    refused = command("train", *flags[:-1])
    assert refused.returncode == 1
    assert "unless --resume is given" in refused.stderr


def test_resuming_needs_a_folder():
    done = command("train", "--resume")
    assert done.returncode == 1
    assert (
        done.stderr.strip() == "error: --resume needs the --output_dir of the run. Received: none"
    )


@pytest.mark.slow
def test_a_closed_pipe_is_not_an_error():
    """As with `| head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train", "--list_recipes"],
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_list_recipes():
    done = command("train", "--list_recipes")
    assert done.returncode == 0
    for name, row in recipes.ROWS.items():
        assert f"\n{name} " in done.stdout
        assert f"\n{row.source}:\n" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.slow
def test_a_dry_run_writes_nothing(tmp_path):
    flags = ("--recipe=alexnet_bn_lars_8192", "--data=digits", "--micro_batch_size=32")
    done = command("train", *flags, "--dry_run", f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr[-4000:]
    published, here = done.stdout.split("\nWhat would be done:\n")
    row = recipes.find("alexnet_bn_lars_8192")
    assert published == f"As published:\n{recipes.details(row)}\n"
    assert here.startswith("model         alexnet_bn of width 0.25, ")
    assert "batch         128 images, 11 updates per epoch, 20 epochs, 220 updates" in done.stdout
    assert "micro-batch   32 images, 4 per update; normalization layers, if any, see 16 s" in (
        done.stdout
    )
    assert re.search(r"^memory        about .* GB per replica", done.stdout, re.MULTILINE)
    assert re.search(r"^time          about \d+ \w+", done.stdout, re.MULTILINE)
    assert not (tmp_path / "run").exists()


def test_collect(run, tmp_path):
    folder, result, _ = run
    done = command("collect", f"--output={tmp_path / 'results.json'}", folder)
    (collected,) = json.loads((tmp_path / "results.json").read_text())
    assert collected["result"] == result
    assert collected["recipe"]["optimizer"] == "lars"
    assert done.stdout.strip() == collect.table([collected])


def test_readme_shows_the_committed_results():
    runs = json.loads((RESULTS / "studies" / "digits_resnet50.json").read_text())
    lars = [run for run in runs if run["recipe"]["optimizer"] == "lars"]
    quick_start = recipes.override()
    assert {run["recipe"]["seed"] for run in lars} == {0, 1, 2}
    for run in lars:
        assert run["recipe"] == dataclasses.asdict(
            dataclasses.replace(quick_start, seed=run["recipe"]["seed"])
        )
        assert run["result"]["validation_accuracy"] >= 0.95
        assert run["result"]["validation_accuracy_at_half_time"] > 0.5
        assert run["result"]["seconds"] <= 180
    accuracies = [f"{100 * run['result']['validation_accuracy']:.1f}" for run in lars]
    seconds = [f"{run['result']['seconds']:.0f}" for run in lars]
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"reached {min(accuracies)} to {max(accuracies)} % on the held-out fifth" in text
    assert f"in {min(seconds)} to {max(seconds)} s on two cores" in text
