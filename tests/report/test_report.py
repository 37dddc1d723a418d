"""`keras_lars.report`: what it reads, what it finds, and that its pictures can be read."""

import base64
import json
import math
import re
import sys

import numpy as np
import pytest
from support.helpers import run_command

pytest.importorskip("matplotlib", reason="the extra `report` is not installed")

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from keras_lars import report
from keras_lars._monitoring import anomalies, history
from keras_lars._monitoring.record import locate
from keras_lars._monitoring.variables import Variable
from keras_lars.report import (
    _figures,
    _groups,
    _heat_map,
    _labels,
    _lines,
    _page,
)

COLUMNS = "update,epoch,variable,weight_norm,gradient_norm,trust_ratio,learning_rate"
PICTURES = ["local_learning_rate.png", "norms.png", "trust_ratios.png"]
FEW = {
    "model/first/kernel": (3, 3, 1, 4),
    "model/first/bias": (4,),
    "model/normalization/gamma": (4,),
    "model/normalization/beta": (4,),
    "model/head/kernel": (4, 10),
}


def many():
    """160 variables with the names of a ResNet-50."""
    shapes = {}
    for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)):
        for block in range(1, blocks + 1):
            for part in (0, 1, 2, 3) if block == 1 else (1, 2, 3):
                name = f"conv{stage}_block{block}_{part}"
                shapes |= {f"{name}_conv/kernel": (1, 1, 8, 8)}
                shapes |= {f"{name}_bn/{parameter}": (8,) for parameter in ("gamma", "beta")}
    shapes |= {"conv1_conv/kernel": (7, 7, 3, 8), "conv1_conv/bias": (8,)}
    return shapes | {"predictions/kernel": (8, 10), "predictions/bias": (10,)}


def rows_of(names, updates=range(1, 31, 3)):
    """Norms and ratios that differ by variable and drift by update."""
    generator = np.random.default_rng(0)
    scales = np.exp(generator.normal(size=(2, len(names))))
    for update in updates:
        for i, name in enumerate(names):
            w, g = scales[0, i], scales[1, i] * math.exp(-update / 30)
            yield update, update / 10, name, w, g, 0.001 * w / g, 2.0 / update


def write_csv(folder, rows, header=COLUMNS):
    folder.mkdir(exist_ok=True)
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    (folder / "trust_ratios.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_json_lines(folder, rows):
    folder.mkdir(exist_ok=True)
    finite = [[None if x != x or x in (math.inf, -math.inf) else x for x in row] for row in rows]
    lines = [json.dumps(dict(zip(COLUMNS.split(","), row))) + "\n" for row in finite]
    (folder / "trust_ratios.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def write_variables(folder, shapes, excluded=(), paths=None, **optimizer):
    folder.mkdir(exist_ok=True)
    variables = [
        {
            "position": i,
            "path": path,
            "shape": shape,
            "adapted": path not in excluded,
            "adaptation_rule": "rank_at_most(1)" if path in excluded else "",
            "decayed": len(shape) > 1,
            "decay_rule": "" if len(shape) > 1 else "bias_or_normalization()",
        }
        for i, (path, shape) in enumerate(zip(paths or shapes, shapes.values()))
    ]
    settings = {"learning_rate": 2.0, "momentum": 0.9, **optimizer}
    text = {"optimizer": settings, "versions": {"keras": "3"}, "variables": variables}
    (folder / "variables.json").write_text(json.dumps(text), encoding="utf-8")
    return folder


def read(folder):
    return history.read(locate(folder))


# Reading.

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


def test_variables_stand_in_the_order_of_the_model(tmp_path):
    shapes = {"b/kernel": (2, 2), "unused": (), "a/kernel": (2, 2)}
    write_variables(tmp_path, shapes, excluded=["b/kernel"])
    record = read(write_csv(tmp_path, [A, B]))
    assert [variable.name for variable in record.variables] == list(shapes)
    np.testing.assert_array_equal(record.weight_norm[:, 0], [5, math.nan, 3])
    assert (record.adapted, record.unadapted) == ([1, 2], [0])


def test_variables_that_share_a_path_are_known_by_position(tmp_path):
    shapes = {"first": (2, 2), "second": (2, 2)}
    write_variables(tmp_path, shapes, paths=["kernel", "kernel"])
    rows = [(1, 0.5, position, position + 1.0, 1.0, 1.0, 1.0) for position in (0, 1)]
    for write in (write_csv, write_json_lines):
        record = read(write(tmp_path, rows))
        assert [variable.name for variable in record.variables] == ["kernel (0)", "kernel (1)"]
        np.testing.assert_array_equal(record.weight_norm[:, 0], [1, 2])
        (tmp_path / "trust_ratios.csv").unlink(missing_ok=True)  # so that the next one is read


def test_the_csv_file_is_read_where_there_are_both(tmp_path):
    write_json_lines(write_csv(tmp_path, [A]), [B])
    assert [variable.name for variable in read(tmp_path).variables] == ["a/kernel"]
    other = history.read(locate(tmp_path / "trust_ratios.jsonl"))
    assert [variable.name for variable in other.variables] == ["b/kernel"]


def test_of_several_rows_of_one_update_the_last_counts(tmp_path):
    again = (1, 0.5, "a/kernel", 7.0, 2.0, 0.25, 4.0)
    np.testing.assert_array_equal(read(write_csv(tmp_path, [A, again])).weight_norm, [[7]])


@pytest.mark.parametrize("write", [write_csv, write_json_lines])
def test_a_last_line_that_was_cut_off_is_dropped_wherever_that_was(write, tmp_path):
    (path,) = write(tmp_path, [A, B]).iterdir()
    whole = path.read_text(encoding="utf-8")
    last = whole.splitlines()[-1]
    for kept in range(len(last) + 1):
        path.write_text(whole[: len(whole) - 1 - len(last) + kept], encoding="utf-8")
        assert [variable.name for variable in read(tmp_path).variables] == ["a/kernel"], kept


# Errors.


def fails(run, output=None):
    with pytest.raises(ValueError) as caught:
        report.draw(run, output)
    assert "Received: " in str(caught.value) or "Received a file: " in str(caught.value)
    return str(caught.value)


def test_there_must_be_a_record(tmp_path):
    assert "that is there" in fails(tmp_path / "nowhere")
    assert "trust_ratios.csv or trust_ratios.jsonl" in fails(tmp_path)
    (tmp_path / "log.txt").write_text("", encoding="utf-8")
    assert "ends in .csv or .jsonl" in fails(tmp_path / "log.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (COLUMNS + "\n", "at least one row"),
        (COLUMNS, "lacks update, epoch, variable"),  # the header itself was cut off
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
    assert not (tmp_path / "report").exists()


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


def test_other_files_must_be_what_they_should_be(tmp_path):
    path = tmp_path / "trust_ratios.csv"
    path.write_bytes(b"\xff\xfe\n")
    assert "UTF-8" in fails(tmp_path)
    write_csv(tmp_path, [A])
    assert "`output` must name a folder" in fails(tmp_path, path)
    for text, message in (
        ("{", "Expecting"),
        ("{}", "no 'variables'"),
        ("[]", "in the place of a dict"),
    ):
        (tmp_path / "variables.json").write_text(text, encoding="utf-8")
        assert message in fails(tmp_path)
    write_variables(tmp_path, {"b/kernel": (2, 2)})
    assert "another variable, 'a/kernel'" in fails(tmp_path)


def test_a_missing_matplotlib_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=re.escape('pip install "keras-lars[report]"')):
        report.draw(write_csv(tmp_path, [A]))


# What stands out.


def findings(folder, rows):
    found = read(write_csv(folder, rows))
    return [*anomalies.find(found), *anomalies.without_gradient(found)]


def row(update, name, w, g, ratio, rate=1.0):
    return update, update / 10, name, w, g, ratio, rate


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


def test_a_ratio_that_jumps_is_one_of_more_than_five_of_its_medians(tmp_path):
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
def test_what_leaves_0_may_take_steps_as_long_as_the_floor(tmp_path, settings, names):
    write_variables(tmp_path, {"bias": (4,), "excluded": (4,)}, excluded=["excluded"], **settings)
    rows = [row(2, name, 0.5, 1.0, 0.75) for name in ("bias", "excluded")]
    assert findings(tmp_path, rows) == [("large update", name, (2,)) for name in names]


def test_what_is_no_finding(tmp_path):
    """Biases begin at 0, and an excluded variable has no ratio that could be wrong."""
    shapes = {"bias": (2,), "excluded": (2, 2), "never": (2, 2)}
    write_variables(tmp_path, shapes, excluded=["excluded", "never"])
    rows = [row(1, "bias", 0.0, 1.0, 1.0), row(1, "excluded", 0.0, 0.0, 1.0)]
    assert findings(tmp_path, rows) == []


def test_findings_without_shapes(tmp_path):
    """It is not known what is a bias, but no weight should be 0 after an update."""
    rows = [row(1, "a", 0.0, 1.0, 1.0), row(1, "b", 0.0, 1.0, 1.0), row(2, "b", 0.0, 1.0, 1.0)]
    assert findings(tmp_path, rows) == [("zero weight", "b", (2,))]


def test_when_is_told_in_words():
    assert anomalies.when([]) == ""
    assert anomalies.when([7]) == "at update 7"
    assert anomalies.when([7, 8, 20]) == "in 3 records, updates 7 to 20"


# What is drawn, and where labels go.


def test_names_lose_what_they_share():
    names = ["model/a/kernel", "model/a/bias", "model/b"]
    assert _labels.without_common_folder(names) == ["a/kernel", "a/bias", "b"]
    assert _labels.without_common_folder(["model/a", "model/b"]) == ["a", "b"]
    assert _labels.without_common_folder(["model/a"]) == ["model/a"]
    assert _labels.without_common_folder(["a", "a"]) == ["a", "a"]


def test_long_names_keep_their_end():
    assert _labels.shorten("block/kernel", 12, len) == "block/kernel"
    assert _labels.shorten("block/kernel", 8, len) == "…/kernel"
    assert _labels.shorten("kernel", 0, len) == "…"


def test_labels_are_spread_no_more_than_needed():
    assert _labels.spread([0.5, 0.1], 0.1, 0, 1) == pytest.approx([0.5, 0.1])
    assert _labels.spread([0.5, 0.5], 0.2, 0, 1) == pytest.approx([0.4, 0.6])
    assert _labels.spread([0.0, 0.0, 0.9], 0.2, 0, 1) == pytest.approx([0, 0.2, 0.9])
    assert _labels.spread([1.0, 1.0], 0.2, 0, 1) == pytest.approx([0.8, 1])
    # The third one pushes the block of the first two: mean of 0.5, 0.5 - 0.2, 0.6 - 0.4.
    assert _labels.spread([0.5, 0.5, 0.6], 0.2, 0, 1) == pytest.approx([1 / 3, 8 / 15, 11 / 15])
    assert _labels.spread([], 0.2, 0, 1) == []


def test_rows_are_named_by_layer_where_there_is_no_room():
    names = ["a/kernel", "a/bias", "b/kernel", "c/kernel", "alone"]
    assert _labels.of_rows(names, 1, 1) == ("variables", list(enumerate(names)))
    assert _labels.of_rows(names, 1, 1.001)[1] == [(0.5, "a"), (2, "b"), (4, "alone")]
    assert _labels.of_rows(names, 0.9, 0.91)[0] == "layers"
    assert _labels.of_rows(["a/x", "a/y", "b/x", "b/y"], 1, 2)[1] == [(0.5, "a"), (2.5, "b")]


def test_ticks_are_round_and_few():
    assert _labels.log_ticks(0.95, 3.5, 9) == [1, 2, 3]
    assert _labels.log_ticks(1, 100, 9) == pytest.approx([1, 2, 5, 10, 20, 50, 100])
    assert _labels.log_ticks(1e-3, 1e3, 9) == pytest.approx([10.0**i for i in range(-3, 4)])
    assert len(_labels.log_ticks(1e-307, 1e308, 9)) in range(5, 10)
    for low in np.geomspace(1, 10, 50):
        assert len(_labels.log_ticks(low, 2 * low, 9)) >= 1
    assert [_labels.plain(x) for x in (1e-5, 0.002, 50.0, 2e7)] == ["1e-5", "0.002", "50", "2e7"]


def variables_of(shapes):
    return [Variable(path, path, shape) for path, shape in shapes.items()]


def test_kernels_and_biases_are_apart_where_there_are_many():
    ((title, indices),) = _groups.panels(variables_of(FEW), range(5))
    assert (title, indices) == ("5 variables", [0, 1, 2, 3, 4])
    shapes = many()
    variables = variables_of(shapes)
    (kernels, of_kernels), (others, of_others) = _groups.panels(variables, range(len(shapes)))
    assert kernels.startswith("54 kernels ")
    assert others.startswith(f"{len(shapes) - 54} variables of rank 0 and 1 ")
    assert sorted(of_kernels + of_others) == list(range(len(shapes)))
    assert all(len(variables[i].shape) >= 2 for i in of_kernels)
    unknown = [Variable(path, path) for path in shapes]
    assert len(_groups.panels(unknown, range(len(shapes)))) == 1


def test_what_lines_can_show():
    values = _groups.drawable(np.array([1.0, 0.0, 2.0, math.inf, -1.0, 3.0, 4.0, math.nan]))
    nan = math.nan
    np.testing.assert_array_equal(values, [1, nan, 2, nan, nan, 3, 4, nan])
    assert _groups.isolated(values) == [0, 2]
    assert _groups.last_point(values) == 6
    assert _groups.last_point(values[3:5]) is None


def test_of_many_lines_those_that_end_highest_and_lowest_are_named():
    ends = np.random.default_rng(0).permutation(40) + 1.0
    values = np.stack([50 - ends, ends], axis=1)
    values[0] = math.nan
    expected = np.argsort(ends[1:]) + 1
    assert _groups.named(values) == sorted([*expected[:3], *expected[-3:]])
    assert _groups.named(values[:10]) == list(range(1, 10))


def test_quantiles_are_over_what_is_there():
    values = np.array([[1.0, 4.0, math.nan], [3.0, math.nan, math.nan], [5.0, 8.0, math.nan]])
    low, median = _groups.quantiles(values, [0.25, 0.5])
    np.testing.assert_array_equal(low, [2, 5, math.nan])
    np.testing.assert_array_equal(median, [3, 6, math.nan])


def test_cells_of_the_heat_map():
    ratios = np.array([[1.0, math.nan, math.nan, 0.0, math.inf]])
    cells = _heat_map.kinds(ratios, np.array([[True, True, False, True, True]]))
    expected = ["RATIO", "NOT_FINITE", "MISSING", "ZERO", "NOT_FINITE"]
    assert cells.tolist() == [[getattr(_heat_map, name) for name in expected]]


def test_many_updates_share_columns_and_lose_nothing_remarkable():
    ratios = np.array([[1.0, 2.0, 3.0, math.nan, 5.0], [1.0, 2.0, math.nan, math.nan, math.nan]])
    is_recorded = np.array([[True] * 5, [True] * 2 + [False] * 3])
    cells = _heat_map.kinds(ratios, is_recorded)
    values, reduced, count = _heat_map.reduce(ratios, cells, 3)
    assert count == 2
    np.testing.assert_array_equal(values, [[2, 3, 5], [2, math.nan, math.nan]])
    ratio, missing = _heat_map.RATIO, _heat_map.MISSING
    assert reduced.tolist() == [[ratio, _heat_map.NOT_FINITE, ratio], [ratio, missing, missing]]
    assert _heat_map.ticks(np.array([1, 4, 7, 9, 11]), 2) == ([0, 1, 2], ["1", "7", "11"])
    assert _heat_map.reduce(ratios, cells, 5)[2] == 1


def test_colors_of_ratios_that_hardly_differ():
    assert _heat_map.limits(np.array([1.0, 1.1])) == (0.5, 2.2)
    assert _heat_map.limits(np.array([1.0, 3.0])) == (1, 3)


# The pictures.


def visible_texts(figure):
    """Texts with the boxes that they cover, once all is laid out."""
    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [(t.get_text(), Text.get_window_extent(t, renderer)) for t in texts]


def undrawn(figure):
    """Texts that exist but are not drawn: of ticks outside of the limits, of axes turned off."""
    hidden = set()
    for axes in figure.axes:
        if not axes.axison:
            hidden |= {*axes.xaxis.findobj(Text), *axes.yaxis.findobj(Text)}
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            low, high = sorted((low, high))
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low <= tick.get_loc() <= high:
                    hidden |= {tick.label1, tick.label2}
    return hidden


def assert_legible(figure):
    """No two texts overlap, and none leaves the picture."""
    FigureCanvasAgg(figure).draw()
    for text in undrawn(figure):
        text.set_visible(False)
    texts = visible_texts(figure)
    width, height = figure.canvas.get_width_height()
    for i, (text, box) in enumerate(texts):
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
        for other, other_box in texts[:i]:
            assert not box.overlaps(other_box), (text, other)
    return [text for text, _ in texts]


# With dollars that are no mathematics.
LONG = {f"model_{i}/{'block/' * 12}{i}$\\broken_{i}$/kernel": (2, 2) for i in range(5)}


@pytest.mark.parametrize("shapes", [FEW, LONG, many()], ids=["5", "5 long names", "160"])
@pytest.mark.parametrize("has_description", [True, False])
def test_pictures_are_legible(shapes, has_description, tmp_path):
    if has_description:
        write_variables(tmp_path, shapes)
    record = read(write_csv(tmp_path, rows_of(shapes)))
    names = _labels.without_common_folder(list(shapes))
    with _figures.own_style():
        rates, heat_map, norms = (
            draw(record)
            for draw in (_lines.local_learning_rates, _heat_map.trust_ratios, _lines.norms)
        )
        for figure, panels in ((rates, 1), (norms, 2)):
            texts = assert_legible(figure)
            named = [text for text in texts if is_end_of(text, names)]
            if len(shapes) == 5:
                assert len(named) == 5 * panels
                assert any(text[0] == "…" for text in named) == (shapes is LONG)
            else:  # kernels and biases apart, three highest and lowest of each
                assert len(named) == 6 * panels * (2 if has_description else 1)
        texts = assert_legible(heat_map)
        layers = {name.rpartition("/")[0] for name in names}
        if len(shapes) == 5:
            assert sum(is_end_of(text, names) for text in texts) == 5
        else:
            assert 40 <= sum(text in layers for text in texts) <= len(layers)
        assert max(figure.get_figheight() for figure in (rates, heat_map, norms)) < 16


def is_end_of(text, names):
    return text in names or (text[0] == "…" and any(name.endswith(text[1:]) for name in names))


def test_unadapted_variables_are_left_out_of_rates_and_ratios(tmp_path):
    excluded = ["model/first/bias", "model/normalization/gamma", "model/normalization/beta"]
    write_variables(tmp_path, FEW, excluded)
    record = read(write_csv(tmp_path, rows_of(FEW)))
    with _figures.own_style():
        for draw, count in (
            (_lines.local_learning_rates, 0),
            (_heat_map.trust_ratios, 0),
            (_lines.norms, 6),
        ):
            texts = assert_legible(draw(record))
            assert sum(text.endswith(("bias", "gamma", "beta")) for text in texts) == count


@pytest.mark.parametrize(
    "rows",
    [
        [row(1, "a", 1.0, 1.0, 0.001)],
        [row(5, "a", 0.0, 0.0, 1.0, rate=0.0)],
        [row(1, "a", math.nan, math.inf, math.nan), row(2, "b", 1.0, 1.0, 0.0)],
        [row(1, "a", 1e-300, 1e300, 1e-300), row(10**7, "a", 1e300, 1e-300, 1e300)],
    ],
    ids=["one number", "zeros", "not finite", "far apart"],
)
def test_odd_records_can_be_drawn(rows, tmp_path):
    record = read(write_csv(tmp_path, rows))
    with _figures.own_style():
        for draw in (_lines.local_learning_rates, _heat_map.trust_ratios, _lines.norms):
            assert_legible(draw(record))


def test_a_record_without_adapted_variables_can_be_drawn(tmp_path):
    write_variables(tmp_path, FEW, excluded=FEW)
    page = report.draw(write_csv(tmp_path, rows_of(FEW)))
    assert "0 of them adapted" in page.read_text(encoding="utf-8")


def test_updates_are_whole_numbers_on_the_axis(tmp_path):
    for updates, expected in ([1], ["1"]), ([1, 2], ["1", "2"]):
        record = read(write_csv(tmp_path, [row(update, "a", 1, 1, 1) for update in updates]))
        (axes,) = _lines.local_learning_rates(record).axes
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert [f"{tick:g}" for tick in ticks] == expected


# The page.


def test_the_report_is_one_page_with_its_pictures(tmp_path):
    schedule = {"class_name": "Decay", "config": {"rate": 0.5, "name": "x"}}
    excluded = ["model/first/bias"]
    shapes = {**FEW, "<script>alert(1)</script>": (2, 2)}
    write_variables(tmp_path / "run", shapes, excluded, learning_rate=schedule, url="<b>")
    write_csv(tmp_path / "run", [*rows_of(FEW), row(31, "model/first/kernel", 1, 2000, 0.001)])
    page = report.draw(tmp_path / "run")

    assert page == tmp_path / "run" / "report" / "index.html"
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", *PICTURES]
    text = page.read_text(encoding="utf-8")
    embedded = {
        base64.b64decode(found) for found in re.findall(r'"data:image/png;base64,([^"]+)"', text)
    }
    files = {(page.parent / name).read_bytes() for name in PICTURES}
    assert embedded == files
    assert len(files) == 3
    assert all(file.startswith(b"\x89PNG\r\n\x1a\n") for file in files)

    text = re.sub(r'"data:image/png;base64,[^"]+"', '""', text)
    assert "http" not in text
    assert "<script" not in text
    assert not re.findall(r"\b(?:href|url\()", text)
    for part in (
        "Updates 1 to 31 in 11 records, epochs 0.1 to 3.1; 6 variables, 5 of them adapted.",
        "1 variable never recorded.",
        "the 1 variable excluded from adaptation, which moves",
        "&lt;script&gt;alert(1)&lt;/script&gt;",  # in the tables, and as never recorded
        "at update 31</li>",  # a step larger than the weight
        "Decay(rate=0.5)",
        "&lt;b&gt;",
        "(3, 3, 1, 4)",
        "no: <code>rank_at_most(1)</code>",
        "no: <code>bias_or_normalization()</code>",
        "The last record, update 31",
    ):
        assert part in text, part
    assert re.search(r'first/kernel</td>(<td class="number">[\d.e-]+</td>){4}', text)


def test_nothing_stands_out_in_a_sound_record(tmp_path):
    page = report.draw(write_csv(tmp_path / "run", [A, B]), tmp_path / "elsewhere" / "here")
    assert page == tmp_path / "elsewhere" / "here" / "index.html"
    text = page.read_text(encoding="utf-8")
    assert "<p>Nothing: " in text
    assert "There is no <code>variables.json</code>" in text
    assert not (tmp_path / "run" / "report").exists()


def test_many_findings_of_a_kind_are_folded(tmp_path):
    shapes = many()
    record = read(write_csv(tmp_path, [row(2, name, 0.0, 1.0, 1.0) for name in shapes]))
    text = "".join(_page._findings_list(anomalies.find(record)))
    assert f"<details><summary>{len(shapes)} variables</summary>" in text
    assert all(f">{name}<" in text for name in shapes)


def test_a_report_is_the_same_whatever_the_settings_of_matplotlib_are(tmp_path):
    write_csv(tmp_path, rows_of(FEW))
    first = report.draw(tmp_path).read_bytes()
    with matplotlib.rc_context({"text.usetex": True, "font.size": 20, "savefig.dpi": 10}):
        assert report.draw(str(tmp_path / "trust_ratios.csv")).read_bytes() == first
        assert matplotlib.rcParams["font.size"] == 20  # what others set is left as it was


def test_values_of_the_settings_are_short():
    nested = {"class_name": "WarmUp", "config": {"decay": {"class_name": "D", "config": None}}}
    assert _page.setting(nested) == "WarmUp(decay=D())"
    assert [_page.setting(x) for x in (0.1, None, True, "auto")] == ["0.1", "None", "True", "auto"]


# The command.


def command(*arguments):
    return run_command("keras_lars.report", *arguments)


def test_the_command_prints_the_path_of_the_page(tmp_path):
    done = command(write_csv(tmp_path / "run", [A, B]), "--output", tmp_path / "there")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'there' / 'index.html'}\n"
    assert (tmp_path / "there" / "index.html").is_file()


def test_the_command_tells_an_error_in_one_line(tmp_path, capsys):
    from keras_lars.report.__main__ import main

    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path)])
    assert re.fullmatch(r"error: `run` must be a folder with [^\n]+", caught.value.code)
    assert capsys.readouterr().out == ""
    (tmp_path / "file").write_text("", encoding="utf-8")
    write_csv(tmp_path, [A])
    with pytest.raises(SystemExit, match=r"^error: "):  # a folder cannot be made there
        main([str(tmp_path), "--output", str(tmp_path / "file" / "folder")])
