"""Reading a record: as arrays, or with an error that says what is wrong and where."""

import json
import math
import os
import re

import numpy as np
import pytest
from support.records import (
    COLUMNS,
    read,
    row,
    write_csv,
    write_json_lines,
    write_variables,
)

from keras_lars._monitoring import files, history
from keras_lars._monitoring.record import locate

A = (1, 0.5, "a/kernel", 3.0, 2.0, 0.25, 4.0)
B = (1, 0.5, "b/kernel", 5.0, 0.5, 0.5, 4.0)
LATER = (3, 1.5, "b/kernel", 6.0, math.inf, math.nan, 2.0)
EXPECTED = {
    "weight_norm": [[3, math.nan], [5, 6]],
    "gradient_norm": [[2, math.nan], [0.5, math.inf]],
    "trust_ratio": [[0.25, math.nan], [0.5, math.nan]],
    "learning_rate": [[4, math.nan], [4, 2]],
    "local_learning_rate": [[1, math.nan], [2, math.nan]],
    "is_recorded": [[True, False], [True, True]],
    "global_learning_rate": [4, 2],
    "updates": [1, 3],
    "epochs": [0.5, 1.5],
}


@pytest.mark.parametrize("write", [write_csv, write_json_lines])
def test_a_record_becomes_arrays(write, tmp_path):
    record = read(write(tmp_path, [A, B, LATER]))
    for name, expected in EXPECTED.items():
        if write is write_json_lines and name == "gradient_norm":
            expected = [[2, math.nan], [0.5, math.nan]]  # JSON has no infinity
        np.testing.assert_array_equal(getattr(record, name), expected, name)
    assert [variable.name for variable in record.variables] == ["a/kernel", "b/kernel"]
    assert record.description is None
    assert record.adapted == [0, 1]


def test_variables_are_in_the_order_of_the_model(tmp_path):
    shapes = {"b/kernel": (2, 2), "unused": (), "a/kernel": (2, 2)}
    write_variables(tmp_path, shapes, excluded=["b/kernel"])
    record = read(write_csv(tmp_path, [A, B]))
    assert [variable.name for variable in record.variables] == list(shapes)
    np.testing.assert_array_equal(record.weight_norm[:, 0], [5, math.nan, 3])
    assert (record.adapted, record.unadapted) == ([1, 2], [0])


def test_variables_that_share_a_path_are_identified_by_position(tmp_path):
    shapes = {"first": (2, 2), "second": (2, 2)}
    write_variables(tmp_path, shapes, paths=["kernel", "kernel"])
    rows = [(1, 0.5, position, position + 1.0, 1.0, 1.0, 1.0) for position in (0, 1)]
    for write in (write_csv, write_json_lines):
        record = read(write(tmp_path, rows))
        assert [variable.name for variable in record.variables] == ["kernel (0)", "kernel (1)"]
        np.testing.assert_array_equal(record.weight_norm[:, 0], [1, 2])
        (tmp_path / "trust_ratios.csv").unlink(missing_ok=True)  # so that the next one is read


def test_a_continued_record_has_the_last_names(tmp_path):
    """As in a notebook, where a network that is built again has other automatic names."""
    write_variables(tmp_path, {"dense_2/kernel": (2, 2), "dense_2/bias": (2,), "head": (2, 2)})
    names = [("dense", "head"), ("dense_1", "head"), ("dense_2", "head")]
    rows = [
        row(update, name, 10.0 * update + i, 1.0, 1.0)
        for update, (layer, head) in enumerate(names, 1)
        for i, name in enumerate([f"{layer}/kernel", f"{layer}/bias", head])
    ]
    record = read(write_csv(tmp_path, rows))
    assert [v.name for v in record.variables] == ["dense_2/kernel", "dense_2/bias", "head"]
    np.testing.assert_array_equal(record.weight_norm, [[10, 20, 30], [11, 21, 31], [12, 22, 32]])
    write_csv(tmp_path, [row(1, "dense/gamma", 1.0, 1.0, 1.0), *rows[3:]])
    assert "another variable, 'dense/gamma'" in fails(tmp_path)


def test_the_csv_file_is_read_if_both_exist(tmp_path):
    write_json_lines(write_csv(tmp_path, [A]), [B])
    assert [variable.name for variable in read(tmp_path).variables] == ["a/kernel"]
    other = history.read(locate(tmp_path / "trust_ratios.jsonl"))
    assert [variable.name for variable in other.variables] == ["b/kernel"]


def test_the_last_of_several_rows_of_one_update_counts(tmp_path):
    again = (1, 0.5, "a/kernel", 7.0, 2.0, 0.25, 4.0)
    np.testing.assert_array_equal(read(write_csv(tmp_path, [A, again])).weight_norm, [[7]])


@pytest.mark.parametrize("write", [write_csv, write_json_lines])
def test_a_truncated_last_line_is_dropped(write, tmp_path):
    (path,) = write(tmp_path, [A, B]).iterdir()
    whole = path.read_text(encoding="utf-8")
    last = whole.splitlines()[-1]
    for kept in range(len(last) + 1):
        path.write_text(whole[: len(whole) - 1 - len(last) + kept], encoding="utf-8")
        assert [variable.name for variable in read(tmp_path).variables] == ["a/kernel"], kept


# Errors.


def fails(run):
    with pytest.raises(ValueError, match=r"Received: ") as caught:
        read(run)
    return str(caught.value)


def test_there_must_be_a_record(tmp_path):
    assert "existing folder" in fails(tmp_path / "nowhere")
    assert "trust_ratios.csv or trust_ratios.jsonl" in fails(tmp_path)
    (tmp_path / "log.txt").write_text("", encoding="utf-8")
    assert "ends in .csv or .jsonl" in fails(tmp_path / "log.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (COLUMNS + "\n", "at least one row"),
        (COLUMNS, "lacks update, epoch, variable"),  # the header itself is truncated
        ("", "lacks update, epoch, variable"),
        ("update,variable,loss\n1,a,2\n", "lacks epoch, weight_norm, gradient_norm, trust_ratio,"),
        (COLUMNS + "\n1,1,a,1,1\n", "line 2 of .* must have 7 fields"),
        (COLUMNS + "\n1,1,a,1,1,1,1\n1,1,a,one,1,1,1\n", "line 3 of .* must hold numbers"),
        (COLUMNS + "\n1.5,1,a,1,1,1,1\n", "line 2 of .* must hold numbers"),
        (COLUMNS + "\n0,1,a,1,1,1,1\n", "an update of 1 or more"),
        (COLUMNS + '\n1,1,"a,1,1,1,1\n', "line 2 of .* must be CSV"),
    ],
)
def test_a_csv_file_must_be_a_record(text, message, tmp_path):
    (tmp_path / "trust_ratios.csv").write_text(text, encoding="utf-8")
    assert re.search(message, fails(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one row"),
        ("[1]\n", "line 1 of .* must be a JSON object"),
        ("{\n", "line 1 of .* must be JSON"),
        ('{"update": 1, "variable": "a"}\n', "line 1 of .* lacks epoch, weight_norm"),
        (json.dumps(dict.fromkeys(COLUMNS.split(","), 1.5)) + "\n", "must hold numbers"),
    ],
)
def test_a_json_lines_file_must_be_a_record(text, message, tmp_path):
    (tmp_path / "trust_ratios.jsonl").write_text(text, encoding="utf-8")
    assert re.search(message, fails(tmp_path))


def test_other_files_must_be_valid(tmp_path):
    path = tmp_path / "trust_ratios.csv"
    path.write_bytes(b"\xff\xfe\n")
    assert "UTF-8" in fails(tmp_path)
    write_csv(tmp_path, [A])
    for text, message in (
        ("{", "Expecting"),
        ("{}", "no 'variables'"),
        ("[]", "not of type dict"),
    ):
        (tmp_path / "variables.json").write_text(text, encoding="utf-8")
        assert message in fails(tmp_path)
    write_variables(tmp_path, {"b/kernel": (2, 2)})
    assert "another variable, 'a/kernel'" in fails(tmp_path)


def test_files_are_on_the_disk_before_they_are_renamed(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fsync", lambda number: done.append(os.fstat(number).st_size))
    monkeypatch.setattr(os, "replace", lambda source, target: done.append(target.name))
    files.write(tmp_path, {"a": b"1", "b": b"22"})
    assert done == [1, 2, "a", "b"]
