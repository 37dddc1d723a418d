"""The measurement of the input pipeline: its parts, its results and its output."""

import json
import re

import keras
import pytest
from support.helpers import run_command
from support.models import one_layer

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
pytest.importorskip(
    "tensorflow_datasets.public_api",
    reason="tensorflow-datasets, from the extra `benchmarks`, is missing or incomplete",
    exc_type=Exception,  # not an ImportError if protobuf is too old
)
if keras.backend.backend() != "tensorflow":
    pytest.skip("the benchmarks run on TensorFlow", allow_module_level=True)

from benchmarks import models
from benchmarks.data import fake_imagenet
from benchmarks.speed import input

PARTS = ["decode", "input", "step", "both"]


def command(*arguments):
    return run_command("benchmarks.speed.input", *arguments)


def tiny(**fields):
    fields = {"model": "resnet_tiny", "width": 0.125, "batch_size": 8, "seconds": 0.1, **fields}
    return input.Settings(**fields)


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", ["none", "paper", "extended"])
def test_each_part_is_measured(tmp_path, augmentation, monkeypatch):
    monkeypatch.setattr(models, "build", one_layer)
    fake_imagenet.write(tmp_path, images=16, height=40, width=60, files=2)
    settings = tiny(data_dir=str(tmp_path), image_size=16, augmentation=augmentation)
    results = input.measure(settings)
    assert json.loads(json.dumps(results)) == results
    assert list(results["measured"]) == PARTS
    for measured in results["measured"].values():
        assert measured["seconds"] >= 0.1
        assert measured["images"] >= 8
        assert measured["images"] % 8 == 0
    assert results["versions"]["keras"] == keras.__version__
    assert results["device"]["backend"] == "tensorflow"
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.slow
def test_data_without_files_has_nothing_to_decode():
    results = input.measure(tiny(data="synthetic", model="alexnet_tiny", image_size=16))
    assert list(results["measured"]) == PARTS[1:]


@pytest.mark.parametrize(
    ("input_images", "line"),
    [
        (100, "The whole input is the bottleneck. The training step is 2.00 times as fast."),
        (500, "The training step is the bottleneck. The whole input is 2.50 times as fast."),
    ],
    ids=["input", "step"],
)
def test_the_bottleneck_is_named(tmp_path, input_images, line):
    images = dict(zip(PARTS, (900, input_images, 200, 90)))
    measured = {name: {"images": count, "seconds": 2.0} for name, count in images.items()}
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"measured": measured}))
    done = command(f"--show={file}")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == line
    assert re.fullmatch(r"\| decoding and cropping alone \| +450\.0 \|", lines[2])
    assert len(lines) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data=cats"], "error: flag --data=cats: value should be one of .*"),
        (
            ["--seconds=0"],
            "error: --seconds must be a finite number of at least 0.001. Received: 0.0",
        ),
        (["--data=imagenet2012", "--data_dir={}"], "error: --data_dir must hold imagenet2012/5.*"),
        (["--data=digits", "--batch_size=2000"], "error: --batch_size must be at most 1437, .*"),
        (["--show={}/none.json"], r"error: .*none.json"),
    ],
    ids=["data", "seconds", "missing", "batch", "show"],
)
def test_a_mistake_gives_a_one_line_error(tmp_path, arguments, message):
    done = command(*(argument.format(tmp_path) for argument in arguments))
    assert done.returncode == 1
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert re.fullmatch(message, done.stderr.splitlines()[-1])
