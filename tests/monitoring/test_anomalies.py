"""The findings in a record, and their wording."""

import math

import pytest
from support.records import read, row, write_csv, write_variables

from keras_lars._monitoring import anomalies


def findings(folder, rows):
    found = read(write_csv(folder, rows))
    return [*anomalies.find(found), *anomalies.without_gradient(found)]


def test_findings_by_name_and_update(tmp_path):
    shapes = {"nan": (2, 2), "never": (2,), "large": (2, 2), "w": (2, 2), "g": (2, 2), "ok": (2, 2)}
    write_variables(tmp_path, shapes)
    rows = [
        row(1, "nan", 1.0, 1.0, 0.5),
        row(2, "nan", 1.0, math.inf, 0.5),
        row(3, "nan", math.nan, math.nan, math.nan),
        row(1, "large", 1.0, 4.0, 0.25),  # equal is not larger
        row(2, "large", 1.0, 4.0, 0.25, rate=1.001),
        row(1, "w", 0.0, 1.0, 1.0),  # a step from 0 is not called large
        row(3, "g", 1.0, 0.0, 1.0),
        row(3, "ok", 1.0, 1.0, 0.001),
    ]
    assert findings(tmp_path, rows) == [
        ("not finite", "nan", (2, 3)),
        ("large update", "large", (2,)),
        ("zero weight", "w", (1,)),
        ("zero gradient", "g", (3,)),
        ("no gradient", "never", ()),
    ]


def test_a_ratio_jumps_if_it_exceeds_five_times_its_median(tmp_path):
    shapes = dict.fromkeys(("jumps", "five", "twice", "excluded", "fallback"), (2, 2))
    write_variables(tmp_path, shapes, excluded=["excluded"])
    rows = []
    for update in range(1, 8):
        at_last = update == 7
        rows += [
            row(update, "jumps", 1.0, 0.01, 0.051 if at_last else 0.01),
            row(update, "five", 1.0, 0.01, 0.05 if at_last else 0.01),
            row(update, "twice", 1.0, 0.01, 1.0 if update in (3, 7) else 0.1),
            row(update, "excluded", 1.0, 0.01, 9.0 if at_last else 1.0),
            row(update, "fallback", 0.0 if update == 1 else 1.0, 0.01, 1.0 / update**3),
        ]
    jumps = [found for found in findings(tmp_path, rows) if found.kind == "ratio jump"]
    expected = [("jumps", (7,)), ("twice", (3, 7)), ("fallback", (2,))]
    assert [(found.variable, found.updates) for found in jumps] == expected


@pytest.mark.parametrize(
    ("settings", "names"),
    [({}, ["bias", "excluded"]), ({"weight_norm_floor": 0.5}, ["excluded"])],
)
def test_a_weight_that_leaves_0_may_take_steps_as_long_as_the_floor(tmp_path, settings, names):
    write_variables(tmp_path, {"bias": (4,), "excluded": (4,)}, excluded=["excluded"], **settings)
    rows = [row(2, name, 0.5, 1.0, 0.75) for name in ("bias", "excluded")]
    assert findings(tmp_path, rows) == [("large update", name, (2,)) for name in names]


def test_an_excluded_bias_that_leaves_0_in_a_warm_up(tmp_path):
    write_variables(tmp_path, {"small": (4,), "large": (4,)}, excluded=["small", "large"])
    rows = [row(3, "small", 0.03, 1.0, 0.1), row(3, "large", 0.03, 1.0, 0.11)]
    assert findings(tmp_path, rows) == [("large update", "large", (3,))]


def test_cases_that_are_not_findings(tmp_path):
    """Biases start at 0, and an excluded variable has no ratio that could be wrong."""
    shapes = {"bias": (2,), "excluded": (2, 2), "never": (2, 2)}
    write_variables(tmp_path, shapes, excluded=["excluded", "never"])
    rows = [row(1, "bias", 0.0, 1.0, 1.0), row(1, "excluded", 0.0, 0.0, 1.0)]
    assert findings(tmp_path, rows) == []


def test_findings_without_shapes(tmp_path):
    """Biases cannot be recognized, but no weight should be 0 after an update."""
    rows = [row(1, "a", 0.0, 1.0, 1.0), row(1, "b", 0.0, 1.0, 1.0), row(2, "b", 0.0, 1.0, 1.0)]
    assert findings(tmp_path, rows) == [("zero weight", "b", (2,))]


def test_updates_are_described_in_words():
    assert anomalies.when([]) == ""
    assert anomalies.when([7]) == "at update 7"
    assert anomalies.when([7, 8, 20]) == "in 3 records, updates 7 to 20"
