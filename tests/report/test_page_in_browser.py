"""The page of a report, opened in a browser."""

import pytest
from support.browser import ask
from support.records import FEW, many, row, rows_of, write_csv, write_variables

pytest.importorskip("matplotlib", reason="the extra `report` is not installed")

from keras_lars import report
from keras_lars.report import _plots

pytestmark = pytest.mark.slow

# What a person would see, point at and type.
TOOLS = """
const count = (selector) => document.querySelectorAll(selector).length;
const labels = (id) => [...document.querySelectorAll(`#${id} .label`)].map((e) => e.textContent);
const point = (id, x, y) => {
  const svg = document.querySelector(`#${id} svg`);
  const box = svg.getBoundingClientRect();
  const place = { clientX: box.left + x, clientY: box.top + y };
  svg.dispatchEvent(new PointerEvent("pointermove", place));
  return document.getElementById("tip").hidden ? "" : document.getElementById("tip").innerText;
};
const type = (text) => {
  document.getElementById("text").value = text;
  document.getElementById("text").dispatchEvent(new Event("input"));
};
"""


@pytest.fixture(scope="module", autouse=True)
def no_plots():
    """The plots take longer than the page, which does not show them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_plots, "figures", lambda record: {})
        yield


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A page of five variables. The ratio of one of them jumps."""
    folder = tmp_path_factory.mktemp("few")
    write_variables(folder, FEW, excluded=["model/normalization/gamma"])
    jump = [row(40, "model/head/kernel", 1.0, 1e-4, 10.0)]
    return report.draw(write_csv(folder, [*rows_of(FEW), *jump]))


@pytest.fixture(scope="module")
def of_many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    write_variables(folder, many())
    return report.draw(write_csv(folder, rows_of(many())))


def test_few_variables_are_all_drawn_and_named(few):
    found = ask(
        few,
        TOOLS
        + """return [count("#weight_norm .line"), labels("weight_norm").sort(),
        labels("local_learning_rate").sort(), labels("trust_ratio"),
        count("#trust_ratio image")]""",
    )
    names = ["first/kernel", "first/bias", "normalization/gamma", "normalization/beta"]
    names.append("head/kernel")
    adapted = [name for name in names if not name.endswith("gamma")]
    assert found == [5, sorted(names), sorted(adapted), adapted, 1]


def test_values_are_shown_at_the_pointer(few):
    lines, cell, outside, hot = ask(
        few,
        TOOLS
        + """return [point("gradient_norm", 60, 100), point("trust_ratio", 300, 24),
        point("trust_ratio", 2, 24), count(".hot")]""",
    )
    assert lines.startswith("update 1, epoch 0.1\n")
    told = lines.split("\n")[1:]
    assert sorted(told[::2]) == sorted(name.removeprefix("model/") for name in FEW)
    values = [float(value) for value in told[1::2]]
    assert values == sorted(values, reverse=True)
    assert "first/bias" in cell
    assert outside == ""
    assert hot == 1


def test_choosing_a_layer_hides_the_others(few):
    found = ask(
        few,
        TOOLS
        + """const states = [];
        const look = () => states.push([count("#weight_norm .line"), labels("weight_norm").sort(),
          count("tr[data-variable]:not([hidden])"), document.getElementById("count").textContent]);
        document.querySelector("#names li button").click(); look();
        document.querySelector("#names input").click(); look();
        document.getElementById("all").click(); look();
        document.getElementById("none").click(); look();
        document.querySelector(".findings button").click(); look();
        type("normalization"); look();
        return states""",
    )
    both = ["first/bias", "first/kernel"]
    assert found[0] == [2, both, 2, "2 of 5"]
    assert found[1] == [1, ["first/bias"], 1, "1 of 5"]
    assert [state[3] for state in found[2:]] == ["5 of 5", "0 of 5", "1 of 5", "2 of 5"]
    assert found[4][1] == ["head/kernel"]  # the one whose ratio jumps
    assert found[5][1] == ["normalization/beta", "normalization/gamma"]


def test_many_variables_are_legible(of_many):
    shown, named, drawn, overlaps = ask(
        of_many,
        TOOLS
        + """const places = [...document.querySelectorAll("#weight_norm .label")]
          .map((e) => Number(e.getAttribute("y"))).sort((a, b) => a - b);
        return [document.getElementById("count").textContent, labels("weight_norm").length,
          count("#weight_norm .line"), places.some((y, n) => n && y - places[n - 1] < 10)]""",
    )
    assert (shown, named, drawn) == ("54 of 160", 6, 54)
    assert not overlaps


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_the_window_and_its_colors(few, width, dark):
    inner, page, text, background, is_open = ask(
        few,
        """const style = getComputedStyle(document.body);
        const light = (color) => color.match(/[0-9]+/g).slice(0, 3).map(Number)
          .reduce((a, b) => a + b) / 3;
        return [innerWidth, document.documentElement.scrollWidth, light(style.color),
          light(style.backgroundColor), document.getElementById("chooser").open]""",
        width,
        dark,
    )
    assert inner == width
    assert page <= inner
    assert (text > 180 and background < 60) if dark else (text < 60 and background > 180)
    assert is_open == (width == 1280)
