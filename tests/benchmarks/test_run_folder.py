"""The folder of a run: tables, JSON files, and when a run may resume."""

import dataclasses
import json
import os
from unittest import mock

import pytest

from benchmarks import files, plan, recipes, run_folder
from benchmarks.recipe import Execution, RecipeError

RECIPE = recipes.override()


def folder_of(path, recipe=RECIPE, micro_batch_size=0, **config):
    path.mkdir()
    config |= {"recipe": dataclasses.asdict(recipe), "micro_batch_size": micro_batch_size}
    files.write_json(path / "config.json", config)
    return path


def test_a_table_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "table.csv"
    rows = [
        {"epoch": 0, "loss": 0.1 + 0.2, "name": "a,b"},
        {"epoch": 1, "name": "c"},
        {"epoch": 2, "loss": float("nan"), "name": "d"},
    ]
    run_folder.write_table(path, ["epoch", "loss", "name"], rows)
    first, second, third = run_folder.read_table(path)
    assert first == rows[0]
    assert second == {"epoch": 1, "loss": None, "name": "c"}
    assert third["loss"] != third["loss"]


def test_a_truncated_row_is_dropped(tmp_path):
    path = tmp_path / "table.csv"
    run_folder.write_table(path, ["epoch", "loss"], [{"epoch": 0, "loss": 1.0}])
    with path.open("a") as file:
        file.write("1")
    assert run_folder.read_table(path) == [{"epoch": 0, "loss": 1.0}]
    assert run_folder.read_table(tmp_path / "none.csv") == []


def test_json_has_null_for_values_that_are_not_finite(tmp_path):
    values = {"a": [1.5, float("nan")], "b": {"c": float("inf")}, "d": True}
    files.write_json(tmp_path / "file.json", values)
    assert json.loads((tmp_path / "file.json").read_text()) == {
        "a": [1.5, None],
        "b": {"c": None},
        "d": True,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["file.json"]


def test_a_file_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    path, done = tmp_path / "file.json", []
    monkeypatch.setattr(os, "fsync", lambda number: done.append(os.fstat(number).st_size))
    monkeypatch.setattr(os, "replace", lambda source, target: done.append(target))
    files.write_text(path, "text")
    assert done == [4, path]


def test_results_have_one_writer_at_a_time(tmp_path):
    pytest.importorskip("fcntl")
    path = tmp_path / "new" / "results.json"
    with files.reserved(path):
        with pytest.raises(RecipeError, match=f"Received: {path}, to which process {os.getpid()} "):
            files.reserved(path).__enter__()
        with files.reserved(path.with_name("others.json")):
            pass
        assert [each.name for each in path.parent.iterdir()] == ["results.json.lock"]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "results.json.lock").write_text("process 1 on another machine, which was killed")
    with files.reserved(tmp_path / "results.json"):
        pass


def test_a_run_resumes_only_on_request_and_with_the_same_settings(tmp_path):
    folder = folder_of(tmp_path / "run")
    with pytest.raises(RecipeError, match="unless --resume is given"):
        run_folder.check(folder, RECIPE, Execution())
    run_folder.check(folder, RECIPE, Execution(resume=True))
    run_folder.check(folder, RECIPE, Execution(resume=True, validate_every_epochs=5))
    other = dataclasses.replace(RECIPE, learning_rate=5.0)
    with pytest.raises(RecipeError, match=r"Received: --learning_rate=5.0 instead of 4.0"):
        run_folder.check(folder, other, Execution(resume=True))
    with pytest.raises(RecipeError, match=r"--micro_batch_size=32 instead of 0"):
        run_folder.check(folder, RECIPE, Execution(resume=True, micro_batch_size=32))


def test_a_run_does_not_resume_with_other_data(tmp_path):
    folder = folder_of(tmp_path / "run", updates_per_epoch=3)
    with pytest.raises(RecipeError, match=r"for 22 updates per epoch instead of 3$"):
        plan.make_plan(RECIPE, Execution(output_dir=str(folder), resume=True))


def test_a_new_folder_may_be_resumed_too(tmp_path):
    run_folder.check(tmp_path / "new" / "run", RECIPE, Execution(resume=True))
    assert list(tmp_path.iterdir()) == []


def test_a_run_begins_in_the_folder_of_one_that_was_killed_as_it_began(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as killed:
        killed.setattr(files.pathlib.Path, "unlink", lambda *arguments, **options: None)
        killed.setattr(os, "replace", mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            folder_of(folder)
    assert len(list(folder.iterdir())) == 1
    run_folder.check(folder, RECIPE, Execution())
    (folder / "file").touch()
    with pytest.raises(RecipeError, match="must be a new or empty folder"):
        run_folder.check(folder, RECIPE, Execution())


def test_all_workers_refuse_what_the_chief_refuses(tmp_path, monkeypatch):
    """Otherwise they would wait for it. But only the chief must be able to write."""
    folder = folder_of(tmp_path / "run")
    with pytest.raises(RecipeError, match="unless --resume is given"):
        plan.make_plan(RECIPE, Execution(output_dir=str(folder)), is_chief=False)
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    resumed = Execution(resume=True)
    run_folder.check(folder, RECIPE, resumed, is_chief=False)
    with pytest.raises(RecipeError, match="cannot be written"):
        run_folder.check(folder, RECIPE, resumed)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"recipe": 1}'])
def test_a_config_that_is_not_of_a_run(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RecipeError, match=r"must hold the config\.json of a run\. Received: "):
        run_folder.check(tmp_path, RECIPE, Execution(resume=True))


def test_the_result_of_a_finished_run(tmp_path):
    assert run_folder.result(tmp_path) is None
    files.write_json(tmp_path / "result.json", {"epochs": 2})
    assert run_folder.result(tmp_path) == {"epochs": 2}


@pytest.mark.parametrize(
    ("field", "value"),
    [("micro_batch_size", -1), ("validate_every_epochs", 0), ("backup_every_updates", -5)],
)
def test_an_execution_checks_its_values(field, value):
    with pytest.raises(RecipeError, match=rf"^--{field} must be at least \d\. Received: {value}$"):
        Execution(**{field: value})
