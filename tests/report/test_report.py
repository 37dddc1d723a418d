"""`keras_lars.report`: its plots are legible, and its page shows what was recorded."""

import json
import math
import re
import sys

import numpy as np
import pytest
from support.helpers import run_command
from support.records import FEW, many, read, row, rows_of, write_csv, write_variables

pytest.importorskip("matplotlib", reason="the extra `report` is not installed")

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from keras_lars import report
from keras_lars._monitoring.variables import Variable
from keras_lars.report import _page, _plots

PLOTS = ["local_learning_rate.png", "norms.png", "trust_ratios.png"]
A = (1, 0.5, "a/kernel", 3.0, 2.0, 0.25, 4.0)
B = (1, 0.5, "b/kernel", 5.0, 0.5, 0.5, 4.0)


def test_a_missing_matplotlib_is_reported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=re.escape('pip install "keras-lars[report]"')):
        report.draw(write_csv(tmp_path, [A]))


# The data that is drawn.


def test_names_lose_the_folder_that_they_share():
    assert _page.shared_folder(["model/a/kernel", "model/a/bias", "model/b"]) == "model/"
    assert _page.shared_folder(["model/a", "model/b"]) == "model/"
    assert _page.shared_folder(["model/a"]) == ""
    assert _page.shared_folder(["a", "a"]) == ""


def variables_of(shapes):
    return [Variable(path, path, shape) for path, shape in shapes.items()]


def test_many_kernels_and_biases_are_in_separate_groups():
    ((title, indices),) = _plots.groups(variables_of(FEW), range(5))
    assert (title, list(indices)) == ("5 variables", [0, 1, 2, 3, 4])
    shapes = many()
    variables = variables_of(shapes)
    (kernels, of_kernels), (others, of_others) = _plots.groups(variables, range(len(shapes)))
    assert kernels.startswith("54 kernels ")
    assert others.startswith(f"{len(shapes) - 54} variables of rank 0 and 1 ")
    assert sorted(of_kernels + of_others) == list(range(len(shapes)))
    assert all(len(variables[i].shape) >= 2 for i in of_kernels)
    unknown = [Variable(path, path) for path in shapes]
    assert len(_plots.groups(unknown, range(len(shapes)))) == 1


def test_values_that_lines_can_show():
    values = _plots.drawable(np.array([1.0, 0.0, 2.0, math.inf, -1.0, 3.0, math.nan]))
    np.testing.assert_array_equal(values, [1, math.nan, 2, math.nan, math.nan, 3, math.nan])


def test_only_the_lines_that_end_highest_and_lowest_are_named():
    ends = np.random.default_rng(0).permutation(40) + 1.0
    values = np.stack([50 - ends, ends], axis=1)
    values[0] = math.nan
    from_highest = (np.argsort(-ends[1:]) + 1).tolist()
    assert _plots.named_lines(values) == [*from_highest[:3], *from_highest[-3:]]
    assert sorted(_plots.named_lines(values[:10])) == list(range(1, 10))


def test_colors_of_ratios_that_hardly_differ():
    assert _plots.limits(np.array([1.0, 1.1])) == (0.5, 2.2)
    assert _plots.limits(np.array([1.0, 3.0])) == (1, 3)


@pytest.mark.slow
def test_only_some_updates_of_a_long_record_are_drawn(tmp_path):
    """They include those at which something was first found."""
    odd = [row(1234, "a", math.nan, 1.0, 1.0)]
    rows = [row(update, "a", 1.0, 1.0, 0.001) for update in range(1, 3001)]
    page = report.draw(write_csv(tmp_path, rows[:1233] + odd + rows[1234:]))
    text = page.read_text(encoding="utf-8")
    assert "in 3000 records" in text
    assert "The charts show 501 of the records" in text
    updates = json.loads(re.search(r'id="data" type="application/json">(.*?)<', text)[1])["updates"]
    assert (updates[0], 1234 in updates, updates[-1], len(updates)) == (1, True, 3000, 501)


# The plots.


def visible_texts(figure):
    """The visible texts and their bounding boxes, after layout."""
    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [(t.get_text(), Text.get_window_extent(t, renderer)) for t in texts]


def undrawn(figure):
    """Texts that exist but are not drawn: ticks outside the limits, and axes that are off."""
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
    """No two texts overlap, and none leaves the plot."""
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


# With dollar signs that are not mathematics.
LONG = {f"model_{i}/{'block/' * 12}{i}$\\broken_{i}$/kernel": (2, 2) for i in range(5)}


def figures(folder):
    with _plots.own_style():
        return _plots.figures(read(folder))


@pytest.mark.slow
@pytest.mark.parametrize("shapes", [FEW, LONG, many()], ids=["5", "5 long names", "160"])
@pytest.mark.parametrize("has_description", [True, False])
def test_plots_are_legible(shapes, has_description, tmp_path):
    if has_description:
        write_variables(tmp_path, shapes)
    names = [name.removeprefix("model/") for name in shapes]
    for file, figure in figures(write_csv(tmp_path, rows_of(shapes))).items():
        texts = [text.replace(r"\$", "$") for text in assert_legible(figure)]
        named = [text for text in texts if is_end_of(text, names)]
        if len(shapes) == 5:
            assert len(named) == 5 * (2 if file == "norms.png" else 1)
            assert any(text[0] == "…" for text in named) == (shapes is LONG)
        elif file == "trust_ratios.png":
            assert 40 <= len(named) <= len(shapes)
        else:  # kernels and biases apart, with the three highest and lowest of each
            panels = (2 if file == "norms.png" else 1) * (2 if has_description else 1)
            assert len(named) == 6 * panels
        assert figure.get_figheight() < 16


def is_end_of(text, names):
    return text in names or (text[0] == "…" and any(name.endswith(text[1:]) for name in names))


@pytest.mark.slow
def test_unadapted_variables_are_left_out_of_rates_and_ratios(tmp_path):
    excluded = ["model/first/bias", "model/normalization/gamma", "model/normalization/beta"]
    write_variables(tmp_path, FEW, excluded)
    for file, figure in figures(write_csv(tmp_path, rows_of(FEW))).items():
        texts = assert_legible(figure)
        count = sum(text.endswith(("bias", "gamma", "beta")) for text in texts)
        assert count == (6 if file == "norms.png" else 0)


@pytest.mark.slow
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
    for figure in figures(write_csv(tmp_path, rows)).values():
        assert_legible(figure)


@pytest.mark.slow
def test_a_record_without_adapted_variables_can_be_drawn(tmp_path):
    write_variables(tmp_path, FEW, excluded=FEW)
    page = report.draw(write_csv(tmp_path, rows_of(FEW)))
    assert "0 of them adapted" in page.read_text(encoding="utf-8")


def test_updates_are_whole_numbers_on_the_axis(tmp_path):
    for updates, expected in ([1], ["1"]), ([1, 2], ["1", "2"]):
        folder = write_csv(tmp_path, [row(update, "a", 1, 1, 1) for update in updates])
        (axes,) = figures(folder)["local_learning_rate.png"].axes
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert [f"{tick:g}" for tick in ticks] == expected


# The page.


@pytest.mark.slow
def test_the_report_is_one_page_and_its_plots(tmp_path):
    schedule = {"class_name": "Decay", "config": {"rate": 0.5, "name": "x"}}
    excluded = ["model/first/bias"]
    shapes = {**FEW, "</script><script>alert(1)</script>": (2, 2)}
    write_variables(tmp_path / "run", shapes, excluded, learning_rate=schedule, url="<b>")
    write_csv(tmp_path / "run", [*rows_of(FEW), row(31, "model/first/kernel", 1, 2000, 0.001)])
    page = report.draw(tmp_path / "run")

    assert page == tmp_path / "run" / "report" / "index.html"
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", *PLOTS]
    for name in PLOTS:
        assert (page.parent / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    text = page.read_text(encoding="utf-8")
    assert "http:" not in text
    assert "https:" not in text
    assert len(re.findall("<script", text)) == 2  # the data, and the script that draws it
    assert not re.findall(r"\b(?:href|src)=|url\(", text)
    for part in (
        "Updates 1 to 31 in 11 records, epochs 0.1 to 3.1; 6 variables, 5 of them adapted.",
        "1 variable never recorded.",
        "Variables excluded from adaptation (1) are not shown",
        "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;</button>",
        "at update 31</li>",  # a step larger than the weight
        "Decay(rate=0.5)",
        "&lt;b&gt;",
        "(3, 3, 1, 4)",
        "no: <code>rank_at_most(1)</code>",
        "no: <code>bias_or_normalization()</code>",
        "The last record, update 31",
    ):
        assert part in text, part
    assert re.search(r'first/kernel</button>(<td class="number">[\d.e-]+){4}<td>', text)


@pytest.mark.slow
def test_a_sound_record_has_no_findings(tmp_path):
    page = report.draw(write_csv(tmp_path / "run", [A, B]), tmp_path / "elsewhere" / "here")
    assert page == tmp_path / "elsewhere" / "here" / "index.html"
    text = page.read_text(encoding="utf-8")
    assert "<p>Nothing: " in text
    assert "There is no <code>variables.json</code>" in text
    assert not (tmp_path / "run" / "report").exists()


@pytest.mark.slow
def test_many_findings_of_one_kind_are_folded(tmp_path):
    shapes = many()
    page = report.draw(write_csv(tmp_path, [row(2, name, 0.0, 1.0, 1.0) for name in shapes]))
    text = page.read_text(encoding="utf-8")
    assert f"<details><summary>{len(shapes)} variables</summary>" in text
    assert all(text.count(f">{name}</button>") == 2 for name in shapes)


@pytest.mark.slow
def test_a_report_does_not_depend_on_the_settings_of_matplotlib(tmp_path):
    def plots():
        folder = report.draw(tmp_path).parent
        return [(folder / name).read_bytes() for name in PLOTS]

    write_csv(tmp_path, rows_of(FEW))
    first = plots()
    with matplotlib.rc_context({"text.usetex": True, "font.size": 20, "savefig.dpi": 10}):
        assert plots() == first
        assert matplotlib.rcParams["font.size"] == 20  # the user's setting is unchanged


def test_the_output_must_be_a_folder(tmp_path):
    write_csv(tmp_path, [A])
    with pytest.raises(ValueError, match=r"`output` must name a folder\. Received a file: "):
        report.draw(tmp_path, tmp_path / "trust_ratios.csv")


def test_values_of_the_settings_are_short():
    nested = {"class_name": "WarmUp", "config": {"decay": {"class_name": "D", "config": None}}}
    assert _page.setting(nested) == "WarmUp(decay=D())"
    assert [_page.setting(x) for x in (0.1, None, True, "auto")] == ["0.1", "None", "True", "auto"]


# The command.


def command(*arguments):
    return run_command("keras_lars.report", *arguments)


@pytest.mark.slow
def test_the_command_prints_the_path_of_the_page(tmp_path):
    done = command(write_csv(tmp_path / "run", [A, B]), "--output", tmp_path / "there")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'there' / 'index.html'}\n"
    assert (tmp_path / "there" / "index.html").is_file()


def test_the_command_reports_an_error_in_one_line(tmp_path, capsys):
    from keras_lars.report.__main__ import main

    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path)])
    assert re.fullmatch(r"error: `run` must be a folder with [^\n]+", caught.value.code)
    assert capsys.readouterr().out == ""
    (tmp_path / "file").write_text("", encoding="utf-8")
    write_csv(tmp_path, [A])
    with pytest.raises(SystemExit, match=r"^error: "):  # a folder cannot be made there
        main([str(tmp_path), "--output", str(tmp_path / "file" / "folder")])


# The gradient noise.

NOISE = "update,epoch,variable,gradient_square,noise_square,noise_scale,low,high\n"


def write_noise(folder, scale=1.5):
    lines = [
        f"{update},{update / 8},{variable},2.0,{2 * scale},{scale},{scale / 2},{2 * scale}\n"
        for update in range(1, 65)
        for variable in ("<a>/kernel", "(all)")
    ]
    (folder / "noise_scale.csv").write_text(NOISE + "".join(lines), encoding="utf-8")
    return folder


def noise_on(page):
    text = page.read_text(encoding="utf-8")
    assert "from 64 measurements: 1.5 (1.5 to 1.5); 1.5 (" in text
    assert "worth 60% (60% to 60%)" in text
    assert '<td>&lt;a&gt;/kernel<td class="number">1.5<td class="number">0.75<td' in text
    assert "data:image/png;base64," in text
    return text


@pytest.mark.slow
def test_the_noise_is_on_the_page_of_the_ratios(tmp_path):
    text = noise_on(report.draw(write_csv(write_noise(tmp_path), [A])))
    assert 'id="data"' in text
    found = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert found == sorted(["index.html", "noise_scale.png", *PLOTS])


@pytest.mark.parametrize("file", ["", "noise_scale.csv"])
def test_the_noise_has_a_page_of_its_own(tmp_path, file):
    page = report.draw(write_noise(tmp_path) / file)
    assert 'id="data"' not in noise_on(page)
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", "noise_scale.png"]


def test_noise_without_an_estimate(tmp_path):
    row = "1,1.0,(all),2.0,3.0,nan,nan,nan\n"
    (tmp_path / "noise_scale.csv").write_text(NOISE + row, encoding="utf-8")
    text = report.draw(tmp_path).read_text(encoding="utf-8")
    assert "no estimate (1 measurement, but 16 are needed)" in text
    assert "nan" not in text.partition("</style>")[2].replace("data:image", "").split(";base64")[0]


def test_a_malformed_record_of_noise(tmp_path):
    (tmp_path / "noise_scale.csv").write_text(NOISE + "1,1.0,(all),2.0,x,1,1,1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a record of gradient noise: line 2 of .*'x'"):
        report.draw(tmp_path)
