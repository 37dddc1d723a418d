"""Counts have the right number: "1 epoch", not "1 epochs"."""

import keras
import pytest

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the benchmarks run on TensorFlow", allow_module_level=True)

import re

from benchmarks import loop, recipes, report, words
from benchmarks.plan import make_plan
from benchmarks.recipe import Execution
from keras_lars import _words

PLURAL_OF_ONE = re.compile(r"(?<![\d.,])1 (?!class\b)[a-z-]*[a-z]s\b")


def test_counted():
    assert words.counted(1, "epoch") == _words.counted(1, "epoch") == "1 epoch"
    assert words.counted(0, "epoch") == _words.counted(0, "epoch") == "0 epochs"
    assert words.counted(2, "batch", "batches") == _words.counted(2, "batch", "batches")
    assert words.counted(2, "batch", "batches") == "2 batches"
    assert words.counted(12345, "image", spec=",") == "12,345 images"
    assert words.counted(1.0, "second", spec="g") == "1 second"
    assert words.duration(1.2) == "1 second"
    assert words.duration(0.2) == "0 seconds"
    assert words.duration(119) == "119 seconds"


@pytest.mark.slow
def test_a_training_with_one_of_everything(capsys, tmp_path):
    recipe = recipes.override(
        model="resnet_tiny", width=0.125, global_batch_size=1437, epochs=1, warmup_epochs=0
    )
    plan = make_plan(recipe, Execution(output_dir=str(tmp_path / "run")))
    loop.describe(plan)
    said = capsys.readouterr().out
    assert "1437 images, 1 update per epoch, 1 epoch, 1 update\n" in said
    assert "1 replica on 1 worker, " in said
    assert "1437 images, 1 per update; normalization layers, if any, see 1437 samples" in said
    assert not PLURAL_OF_ONE.search(said)
    result = {"diverged": False, "validation_accuracy": 0.1, "seconds": 5}
    assert " after 1 update in 5 s; " in report.conclusion(plan, result)
