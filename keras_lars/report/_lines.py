"""Lines over the updates: of few variables each by its name, of many by depth, with quantiles."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_lars._monitoring.history import History
from keras_lars.report import _figures, _groups, _labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEFT, _RIGHT, _TOP, _GAP, _BOTTOM = 0.75, 2.45, 0.65, 1.0, 0.55
_BAR = 0.6  # what the bar of colors needs below
_LABEL_WIDTH = _RIGHT - 0.45
_QUANTILES = (0.1, 0.5, 0.9)


class Panel(NamedTuple):
    """What one pair of axes shows."""

    title: str
    quantity: str  # of the vertical axis
    values: np.ndarray  # of all variables. shape=(variables, updates)
    indices: list[int]  # of the variables that are drawn
    rate: np.ndarray | None = None  # the global learning rate. shape=(updates,)
    height: float = 3.2


def local_learning_rates(record: History) -> "Figure":
    """Of the adapted variables, beside the learning rate."""
    values, rate = record.local_learning_rate, record.global_learning_rate
    panels = [
        Panel(f"Local learning rate: {title}", "local learning rate", values, indices, rate)
        for title, indices in _groups.panels(record.variables, record.adapted)
    ]
    return _draw(record, panels)


def norms(record: History) -> "Figure":
    """Of all weights and gradients that were recorded."""
    together = _groups.panels(record.variables, range(len(record.variables)))
    height = 3.2 if len(together) == 1 else 2.7
    panels = [
        Panel(f"{quantity.capitalize()}: {title}", quantity, values, indices, height=height)
        for quantity, values in (
            ("weight norm", record.weight_norm),
            ("gradient norm", record.gradient_norm),
        )
        for title, indices in together
    ]
    return _draw(record, panels)


def _draw(record: History, panels: list[Panel]) -> "Figure":
    has_bar = any(len(panel.indices) > _groups.FEW for panel in panels)
    bottom = _BOTTOM + (_BAR if has_bar else 0)
    heights = [panel.height for panel in panels]
    figure, all_axes = _figures.stacked(heights, _LEFT, _RIGHT, _TOP, _GAP, bottom)
    names = [variable.name for variable in record.variables]
    for axes, panel in zip(all_axes, panels):
        _panel(axes, panel, record.updates, names)
    all_axes[-1].set_xlabel("update")
    if has_bar:
        _bar(figure, len(names))
    return figure


def _panel(axes: "Axes", panel: Panel, updates: np.ndarray, names: list[str]) -> None:
    axes.set_title(panel.title, pad=22 if _has_legend(panel) else 6)
    values = _groups.drawable(panel.values[panel.indices])
    rate = None if panel.rate is None else _groups.drawable(panel.rate)
    shown = values if rate is None else np.vstack([values, rate])
    if not panel.indices:
        _figures.say(axes, "No variable is adapted.")
        return
    if np.isnan(shown).all():
        _figures.say(axes, "Nothing can be drawn: no value is finite and above 0.")
        return
    low, high = _limits(shown)
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    ticks = _labels.log_ticks(low, high, 9)
    axes.set_yticks(ticks, [_labels.plain(tick) for tick in ticks])
    axes.yaxis.set_minor_formatter("")
    axes.set_ylabel(panel.quantity)
    margin = max(0.01 * (updates[-1] - updates[0]), 0.5)
    axes.set_xlim(updates[0] - margin, updates[-1] + margin)
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=8, min_n_ticks=1)
    axes.grid(alpha=0.25, which="major", linewidth=0.6)

    is_few = len(panel.indices) <= _groups.FEW
    depths = np.array(panel.indices) / max(len(names) - 1, 1)
    colors = _figures.CYCLE if is_few else _figures.depth_map()(depths)
    named = _groups.named(values)
    for i, row in enumerate(values):
        prominent = is_few or i in named
        style = {"linewidth": 1.4} if prominent else {"linewidth": 0.7, "alpha": 0.45}
        _line(axes, updates, row, color=colors[i], zorder=2.5 if prominent else 2, **style)
    if not is_few:
        _summary(axes, updates, values)
    if rate is not None:
        style = {"color": _figures.FAINT, "linestyle": "--", "linewidth": 1.1, "zorder": 3.5}
        _line(axes, updates, rate, label="learning rate", **style)
    if _has_legend(panel):
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1)}
        axes.legend(**place, ncols=3, borderaxespad=0.4, borderpad=0, handlelength=1.8)
    _name(axes, panel, updates, values, named, names, colors, (low, high))


def _has_legend(panel: Panel) -> bool:
    return panel.rate is not None or len(panel.indices) > _groups.FEW


def _line(axes: "Axes", updates: np.ndarray, values: np.ndarray, **style) -> None:
    """A line, with dots where it would be invisible."""
    axes.plot(updates, values, **style)
    dots = _groups.isolated(values)
    if dots:
        kept = {name: style[name] for name in ("color", "alpha", "zorder") if name in style}
        axes.plot(updates[dots], values[dots], linestyle="none", marker=".", markersize=5, **kept)


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Of a logarithmic axis: a little more than the values, and at least a factor of 2."""
    low, high = np.log10(np.nanmin(values)), np.log10(np.nanmax(values))
    margin = max(0.05 * (high - low), (0.3 - (high - low)) / 2, 0.01)
    # Not beyond what float64 can hold.
    return 10.0 ** max(low - margin, -307.0), 10.0 ** min(high + margin, 308.0)


def _summary(axes: "Axes", updates: np.ndarray, values: np.ndarray) -> None:
    low, median, high = _groups.quantiles(values, _QUANTILES)
    label = f"{100 * _QUANTILES[0]:.0f} to {100 * _QUANTILES[2]:.0f} % of the variables"
    axes.fill_between(updates, low, high, color="#000000", alpha=0.1, linewidth=0, label=label)
    _line(axes, updates, median, color="#000000", linewidth=1.8, label="median", zorder=3)


def _name(
    axes: "Axes",
    panel: Panel,
    updates: np.ndarray,
    values: np.ndarray,
    named: list[int],
    names: list[str],
    colors,
    limits: tuple[float, float],
) -> None:
    """Writes names to the right of the lines' ends, apart from each other."""
    short = _figures.fitted(names, _LABEL_WIDTH)
    bottom, top = np.log10(limits)
    ends = [_groups.last_point(values[i]) for i in named]
    wanted = [(np.log10(values[i, j]) - bottom) / (top - bottom) for i, j in zip(named, ends)]
    gap = _figures.LABEL_SIZE * _figures.LINE_HEIGHT / _figures.POINTS / panel.height
    for i, j, place in zip(named, ends, _labels.spread(wanted, gap, gap / 2, 1 - gap / 2)):
        leader = {"arrowstyle": "-", "color": colors[i], "linewidth": 0.9, "linestyle": ":"}
        if j < len(updates) - 1:
            mark = {"linestyle": "none", "marker": "x", "markersize": 5, "zorder": 4}
            axes.plot(updates[j], values[i, j], color=colors[i], **mark)
        axes.annotate(
            short[panel.indices[i]],
            xy=(updates[j], values[i, j]),
            xytext=(1.04, place),
            textcoords="axes fraction",
            arrowprops={**leader, "shrinkA": 2, "shrinkB": 0, "relpos": (0, 0.5)},
            annotation_clip=False,
            fontsize=_figures.LABEL_SIZE,
            color=colors[i] if len(values) <= _groups.FEW else _figures.TEXT,
            va="center",
            parse_math=False,
        )


def _bar(figure: "Figure", count: int) -> None:
    """What the colors of many lines mean."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    axes = _figures.add_axes(figure, _LEFT, 0.42, 2.6, 0.1)
    mappable = ScalarMappable(Normalize(1, count), _figures.depth_map())
    bar = figure.colorbar(mappable, cax=axes, orientation="horizontal", ticks=[1, count])
    bar.outline.set_visible(False)
    axes.text(
        1.05,
        0.5,
        "color: position of the variable in the model; the highest and lowest ends are named",
        transform=axes.transAxes,
        va="center",
        fontsize=_figures.LABEL_SIZE,
    )
