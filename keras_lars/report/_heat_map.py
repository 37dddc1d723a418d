"""Trust ratios as colors: a row for each variable, a column for each recorded update."""

from typing import TYPE_CHECKING

import numpy as np

from keras_lars._monitoring.history import History
from keras_lars.report import _figures, _labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TOP, _BOTTOM, _RIGHT = 0.65, 0.55, 1.2
_LABEL_WIDTH, _ROW = 2.6, 0.17
_TALLEST, _SHORTEST = 13.0, 0.5  # of the map itself
_SMALL = 6.5  # points, of labels where there are many
_COLUMNS = 800  # at most; more than that would be less than a pixel each

# What a cell is; the larger, the more a person should see it.
MISSING, RATIO, ZERO, NOT_FINITE = range(4)
_MARKS = {
    MISSING: ("#e4e4e4", "not recorded"),
    ZERO: ("#000000", "0"),
    NOT_FINITE: ("#e6194b", "not finite"),
}


def kinds(ratios: np.ndarray, is_recorded: np.ndarray) -> np.ndarray:
    """Of each cell one of the constants above. Same shape as `ratios`."""
    found = np.where(ratios > 0, RATIO, ZERO)
    found[~np.isfinite(ratios)] = NOT_FINITE
    found[~is_recorded] = MISSING
    return found


def reduce(ratios: np.ndarray, cells: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray, int]:
    """At most `limit` columns: (ratios, kinds, how many updates a column stands for).

    A column shows the most remarkable kind among its updates, and of ratios the last one, so that
    no single cell that is not finite gets lost.
    """
    count = -(-ratios.shape[1] // limit)
    if count == 1:
        return ratios, cells, 1
    starts = np.arange(0, ratios.shape[1], count)
    worst = np.maximum.reduceat(cells, starts, axis=1)
    last = np.full(worst.shape, np.nan)
    for column, start in enumerate(starts):
        for j in range(start, min(start + count, ratios.shape[1])):
            is_ratio = cells[:, j] == RATIO
            last[is_ratio, column] = ratios[is_ratio, j]
    return last, worst, count


def ticks(updates: np.ndarray, count: int, most: int = 8) -> tuple[list[int], list[str]]:
    """Columns to label, and the first update of each; `count` updates stand in a column."""
    columns = -(-len(updates) // count)
    chosen = np.unique(np.linspace(0, columns - 1, min(columns, most)).round().astype(int))
    return chosen.tolist(), [str(updates[column * count]) for column in chosen]


def trust_ratios(record: History) -> "Figure":
    """The heat map; variables that are excluded from adaptation are left out."""
    rows = record.adapted
    names = [record.variables[i].name for i in rows]
    height = min(max(_ROW * len(rows), _SHORTEST), _TALLEST)
    row_height = height / max(len(rows), 1)
    size = _figures.LABEL_SIZE if row_height >= _ROW else _SMALL
    line_height = size * _figures.LINE_HEIGHT / _figures.POINTS
    kind, labels = _labels.of_rows(names, row_height, line_height)
    short = _figures.fitted([label for _, label in labels], _LABEL_WIDTH, size)
    left = 0.35 + max([_figures.text_width(text, size) for text in short], default=0.4)

    figure, (axes,) = _figures.stacked([height], left, _RIGHT, _TOP, 0, _BOTTOM)
    if not rows:
        _figures.say(axes, "No variable is adapted.")
        return figure
    cells = kinds(record.trust_ratio[rows], record.is_recorded[rows])
    values, cells, count = reduce(record.trust_ratio[rows], cells, _COLUMNS)
    axes.set_yticks([row for row, _ in labels], short, fontsize=size, parse_math=False)
    places, texts = ticks(record.updates, count)
    axes.set_xticks(places, texts)
    what = "recorded update" if count == 1 else f"recorded updates, {count} in a column"
    axes.set_xlabel(what if kind == "variables" else f"{what}; rows are named by layer")
    axes.tick_params(length=2)
    for spine in axes.spines.values():
        spine.set_visible(False)
    _paint(figure, axes, values, cells)
    return figure


def _paint(figure: "Figure", axes: "Axes", values: np.ndarray, cells: np.ndarray) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, to_rgba

    is_ratio = cells == RATIO
    low, high = limits(values[is_ratio])
    mappable = ScalarMappable(LogNorm(low, high), colormaps["viridis"])
    pixels = mappable.to_rgba(np.where(is_ratio, values, low))
    for kind, (color, _) in _MARKS.items():
        pixels[cells == kind] = to_rgba(color)
    axes.imshow(pixels, aspect="auto", interpolation="nearest")

    marks = [kind for kind in _MARKS if (cells == kind).any()]
    title = f"Trust ratio of {len(cells)} variable{'s' * (len(cells) != 1)}"
    axes.set_title(title, pad=22 if marks else 6)
    if marks:
        _explain(axes, marks)
    if is_ratio.any():
        tall = figure.get_figheight()
        box = axes.get_position()
        length = min(box.height * tall, 3.0)
        place = (_figures.WIDTH - _RIGHT + 0.2, box.y1 * tall - length, 0.14, length)
        bar = figure.colorbar(mappable, cax=_figures.add_axes(figure, *place))
        bar.outline.set_visible(False)
        bar.minorticks_off()
        at = _labels.log_ticks(low, high, max(2, int(length / 0.2)))
        bar.set_ticks(at, labels=[_labels.plain(tick) for tick in at])


def limits(ratios: np.ndarray) -> tuple[float, float]:
    """Of the colors. Numbers that hardly differ do not get the whole range: it would mislead."""
    if not ratios.size:
        return 0.5, 2.0
    low, high = float(ratios.min()), float(ratios.max())
    if high < 2 * low:
        low, high = low / 2, high * 2
    return max(low, np.finfo(float).tiny), min(high, np.finfo(float).max)


def _explain(axes: "Axes", marks: list[int]) -> None:
    """A legend of the cells that are no ratios."""
    from matplotlib.patches import Patch

    axes.legend(
        handles=[Patch(facecolor=_MARKS[kind][0], label=_MARKS[kind][1]) for kind in marks],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        borderaxespad=0.3,
        borderpad=0,
        handlelength=1,
    )
