"""The plots: PNG files for slides and papers, drawn with matplotlib."""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_lars._monitoring.history import History
from keras_lars._monitoring.variables import Variable
from keras_lars._words import counted, on_one_line
from keras_lars.report._page import shared_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 9.0  # inches, as are all lengths
_FEW = 10  # lines that a person can tell apart by color
_NAMED = 3  # of more lines, this many that end highest and lowest are named
_LONGEST = 36  # characters of a name


def require_matplotlib() -> None:
    """Raise ImportError if matplotlib is not installed, before anything is read."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "`keras_lars.report` needs matplotlib, which is not installed: "
            '`pip install "keras-lars[report]"`'
        ) from error


@contextlib.contextmanager
def own_style() -> Iterator[None]:
    """A context without the user's matplotlib settings: with TeX, for example, `_` would fail."""
    import matplotlib.style

    own = {
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "figure.constrained_layout.use": True,
        "font.size": 8,
        "legend.frameon": False,
    }
    with matplotlib.style.context(["default", own]):
        yield


def png(figure: "Figure") -> bytes:
    """The figure as PNG. The same figure always gives the same bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=140, metadata={"Software": None})
    return file.getvalue()


def figures(history: History) -> dict[str, "Figure"]:
    """All plots by the names of their files."""
    rates = {"local learning rate": history.local_learning_rate}
    norms = {"weight norm": history.weight_norm, "gradient norm": history.gradient_norm}
    everything = list(range(len(history.variables)))
    return {
        "local_learning_rate.png": _lines(
            history, rates, history.adapted, history.global_learning_rate
        ),
        "trust_ratios.png": _heat_map(history),
        "norms.png": _lines(history, norms, everything),
    }


# Lines over the updates.


def _lines(
    history: History,
    quantities: Mapping[str, np.ndarray],
    indices: list[int],
    rate: np.ndarray | None = None,
) -> "Figure":
    from matplotlib.figure import Figure

    panels = [
        (quantity, title, group)
        for quantity in quantities
        for title, group in groups(history.variables, indices)
    ]
    names = _labels(history.variables)
    figure = Figure(figsize=(_WIDTH, 3.2 * len(panels)))
    all_axes = figure.subplots(len(panels), squeeze=False).flat
    for axes, (quantity, title, group) in zip(all_axes, panels):
        axes.set_title(f"{quantity.capitalize()}: {title}")
        values = drawable(quantities[quantity][group])
        global_rate = np.full(len(history.updates), np.nan) if rate is None else drawable(rate)
        if not group:
            _say(axes, "No variable is adapted.")
        elif np.isnan(values).all() and np.isnan(global_rate).all():
            _say(axes, "Nothing can be drawn: no value is finite and above 0.")
        else:
            axes.set(yscale="log", ylabel=quantity, xlabel="update")
            axes.set_ylim(*limits(np.vstack([values, global_rate]), margin=1.2))
            _plot(axes, history.updates, values, [names[i] for i in group])
            if rate is not None:
                axes.plot(history.updates, global_rate, "--", color="0.5", label="learning rate")
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _plot(axes: "Axes", updates: np.ndarray, values: np.ndarray, names: list[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    margin = max(0.02 * (updates[-1] - updates[0]), 0.5)
    axes.set_xlim(updates[0] - margin, updates[-1] + margin)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.grid(axis="y", alpha=0.25)
    named = named_lines(values)
    for i in range(len(values)):
        if i not in named:
            axes.plot(updates, values[i], color="0.6", linewidth=0.5, alpha=0.6)
    for i in named:
        marker = "." if np.isfinite(values[i]).sum() == 1 else ""  # one point makes no line
        axes.plot(updates, values[i], marker=marker, linewidth=1.4, label=names[i])
    if len(values) > _FEW:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN slice encountered", RuntimeWarning)
            median = np.nanmedian(values, axis=0)
        axes.plot(updates, median, color="black", linewidth=1.8, label="median")


def groups(variables: Sequence[Variable], indices: list[int]) -> list[tuple[str, list[int]]]:
    """What is drawn together: all variables if they are few, else kernels and others separately.

    The norms and ratios of kernels differ so much from those of biases and scales that no median
    represents both.
    """
    kinds = [variables[i].is_matrix for i in indices]
    if len(indices) <= _FEW or None in kinds or len(set(kinds)) == 1:
        return [(counted(len(indices), "variable"), indices)]
    kernels = [i for i in indices if variables[i].is_matrix]
    others = [i for i in indices if not variables[i].is_matrix]
    return [
        (counted(len(kernels), "kernel") + " (rank 2 and more)", kernels),
        (counted(len(others), "variable") + " of rank 0 and 1 (biases, scales)", others),
    ]


def named_lines(values: np.ndarray) -> list[int]:
    """The lines that are named, highest end first. Of many lines only the extreme ones are.

    Args:
        values: Lines, NaN where there is nothing. shape=(lines, updates)
    """
    ends = [line[np.isfinite(line)][-1:] for line in values]
    order = [i for _, i in sorted((-end[0], i) for i, end in enumerate(ends) if len(end))]
    return order if len(values) <= _FEW else list(dict.fromkeys(order[:_NAMED] + order[-_NAMED:]))


def drawable(values: np.ndarray) -> np.ndarray:
    """The values that a logarithmic axis can show; NaN for the others."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


# The heat map.


def _heat_map(history: History) -> "Figure":
    """A row for each adapted variable, a column for each update, the trust ratio as a color."""
    from matplotlib.colors import ListedColormap, LogNorm
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows = history.adapted
    height = min(max(0.17 * len(rows), 0.8), 13.0)
    figure = Figure(figsize=(_WIDTH, height + 1.0))
    axes = figure.subplots()
    axes.set_title(f"Trust ratio of {counted(len(rows), 'variable')}", pad=20)
    if not rows:
        _say(axes, "No variable is adapted.")
        return figure
    ratios, is_recorded = history.trust_ratio[rows], history.is_recorded[rows]
    shown = drawable(ratios)
    if not np.isnan(shown).all():
        low, high = limits(shown)
        image = axes.imshow(shown, norm=LogNorm(low, high), aspect="auto")
        bar = figure.colorbar(image, aspect=40, shrink=min(1.0, 3.0 / height), format="%.2g")
        bar.minorticks_off()
        bar.set_ticks(np.geomspace(low, high, 3).tolist())
    marks = {
        ("not recorded", "#e4e4e4"): ~is_recorded,
        ("0", "#000000"): is_recorded & (ratios == 0),
        ("not finite", "#e6194b"): is_recorded & ~np.isfinite(ratios),
    }
    handles = []
    for (label, color), where in marks.items():
        if where.any():
            cells = np.where(where, 0.0, np.nan)
            axes.imshow(cells, ListedColormap([color]), aspect="auto", interpolation="nearest")
            handles.append(Patch(facecolor=color, label=label))
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderpad=0)
    names = _labels(history.variables)
    step = math.ceil(0.15 * len(rows) / height)  # rows to a line of text
    axes.set_yticks(range(0, len(rows), step), [names[i] for i in rows[::step]])
    columns = np.unique(np.linspace(0, len(history.updates) - 1, 8).round().astype(int))
    axes.set_xticks(columns, [str(update) for update in history.updates[columns]])
    axes.set_xlabel("recorded update")
    return figure


def limits(values: np.ndarray, margin: float = 1.0) -> tuple[float, float]:
    """The limits of an axis or of colors. Nearly equal values do not fill it: it would mislead."""
    low, high = float(np.nanmin(values)) / margin, float(np.nanmax(values)) * margin
    if high < 2 * low:
        low, high = low / 2, high * 2
    # Matplotlib's ticks overflow far beyond the range of float32, in which values are recorded.
    return min(max(low, 1e-100), 1e98), max(min(high, 1e100), 1e-98)


# Texts.


def _labels(variables: Sequence[Variable]) -> list[str]:
    """Names without the shared folder. Long ones show their ends, where paths differ."""
    shared = len(shared_folder([variable.name for variable in variables]))
    names = [on_one_line(variable.name[shared:]) for variable in variables]
    short = [name if len(name) <= _LONGEST else "…" + name[1 - _LONGEST :] for name in names]
    return [name.replace("$", r"\$") for name in short]  # not as mathematics


def _say(axes: "Axes", text: str) -> None:
    """Write a text in place of an empty plot."""
    axes.set_axis_off()
    axes.text(0, 0.5, text, transform=axes.transAxes)
