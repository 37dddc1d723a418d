"""A short run of `fuzz_inputs.py`, which must also detect faults."""

import inspect
import pathlib

import keras
import pytest
from support import fuzz_arguments, fuzz_inputs, public_api

import keras_lars

pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")

# Public objects without inputs here, and why.
WITHOUT = {
    "callbacks.BackupAndRestore.epochs": "in `test_backup_data.py`",
    "find_learning_rate": "in `test_range_test.py`",
    "multi_worker.WorkerLostError": "nobody calls it",
}


def faults(verdicts):
    return {name: verdict.why for name, verdict in verdicts.items() if verdict.kind == "fault"}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("argument", 220), ("file", 60), ("command", 20)])
def test_inputs_work_or_are_refused_with_a_message(kind, count):
    verdicts = fuzz_inputs.run(count, chosen=kind)
    assert len(verdicts) == count
    assert faults(verdicts) == {}
    kinds = {verdict.kind for verdict in verdicts.values()}
    assert kinds == {"refused", "works"}


def test_every_public_argument_has_inputs():
    callables = {
        name
        for name, value in public_api.objects().items()
        if callable(value) and (inspect.isclass(value) or inspect.isfunction(value))
    }
    methods = {"LARS.variable_table"}  # takes nothing
    assert callables - methods - {*WITHOUT} <= {*fuzz_arguments.TARGETS}
    assert "momentum_form" in fuzz_arguments.arguments(fuzz_arguments.TARGETS["LARS"])
    assert "clipnorm" in fuzz_arguments.arguments(fuzz_arguments.TARGETS["LARS"])


def verdict(act, folder, names=("n",)):
    return fuzz_inputs.judged(names, lambda folder: None, act, folder)


def test_faults_are_detected(tmp_path):
    def raises(error):
        def act(folder):
            raise error

        return act

    assert verdict(lambda folder: keras_lars.rank_at_most(-1), tmp_path).kind == "refused"
    assert verdict(lambda folder: keras_lars.rank_at_most(1), tmp_path).kind == "works"
    for error in (OverflowError("int too large"), KeyError("n"), RecursionError(), SystemExit(1)):
        assert verdict(raises(error), tmp_path).kind == "fault"
    # A ValueError from elsewhere, or from this package about another argument.
    assert "at test_fuzz_inputs.py" in verdict(raises(ValueError("`n`. Received")), tmp_path).why
    assert "at __init__.py" in verdict(lambda folder: keras.Variable("a", shape=3), tmp_path).why
    of_another = verdict(lambda folder: keras_lars.rank_at_most(-1), tmp_path, names=("m",))
    assert "not in the house style" in of_another.why


def test_leftover_files_are_detected(tmp_path):
    def act(folder):
        pathlib.Path(folder, "half").write_text("")
        keras_lars.rank_at_most(-1)

    assert verdict(act, tmp_path).why == "left ['half'] behind"
