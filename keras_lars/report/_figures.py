"""What all pictures have in common: their width and margins, text that is measured, PNG."""

import contextlib
import functools
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from keras_lars._words import on_one_line
from keras_lars.report import _labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.0  # inches, as are all lengths here; text is in points
LABEL_SIZE = 8.0
LINE_HEIGHT = 1.35  # of a line of text, in heights of the font
POINTS = 72  # in an inch
_DOTS = 140  # in an inch

TEXT = "#333333"
FAINT = "#8a8a8a"
# Told apart without naming a color: each is also named at its line's end.
CYCLE = (
    "#1f5fa8",
    "#d1620a",
    "#2a8a4a",
    "#8b3fa8",
    "#7a5230",
    "#c2185b",
    "#00838f",
    "#5f6368",
    "#8a7d00",
    "#c62828",
)


def require_matplotlib() -> None:
    """Raise if it is not installed, before anything is read."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "`keras_lars.report` needs matplotlib, which is not installed: "
            '`pip install "keras-lars[report]"`'
        ) from error


@contextlib.contextmanager
def own_style() -> Iterator[None]:
    """The same pictures whatever a person's settings of matplotlib are: TeX would fail at `_`."""
    import matplotlib.style

    own = {
        "axes.edgecolor": FAINT,
        "axes.labelcolor": TEXT,
        "axes.labelsize": 9,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "legend.fontsize": LABEL_SIZE,
        "legend.frameon": False,
        "text.color": TEXT,
        "xtick.color": FAINT,
        "xtick.labelcolor": TEXT,
        "xtick.labelsize": LABEL_SIZE,
        "ytick.color": FAINT,
        "ytick.labelcolor": TEXT,
        "ytick.labelsize": LABEL_SIZE,
    }
    with matplotlib.style.context(["default", own]):
        yield


def png(figure: "Figure") -> bytes:
    """The same bytes for the same figure."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DOTS, metadata={"Software": None})
    return file.getvalue()


def stacked(
    heights: Sequence[float], left: float, right: float, top: float, gap: float, bottom: float
) -> tuple["Figure", list["Axes"]]:
    """A figure with axes below each other, all lengths in inches."""
    from matplotlib.figure import Figure

    total = top + sum(heights) + gap * (len(heights) - 1) + bottom
    figure = Figure(figsize=(WIDTH, total))
    axes, upper = [], total - top
    for height in heights:
        box = (left, upper - height, WIDTH - left - right, height)
        axes.append(figure.add_axes(_fractions(box, total)))
        upper -= height + gap
    return figure, axes


def _fractions(box: tuple, height: float) -> tuple:
    return (box[0] / WIDTH, box[1] / height, box[2] / WIDTH, box[3] / height)


def add_axes(figure: "Figure", left: float, bottom: float, width: float, height: float) -> "Axes":
    """Axes at a place that is given in inches."""
    return figure.add_axes(_fractions((left, bottom, width, height), figure.get_figheight()))


@functools.lru_cache(maxsize=4096)
def text_width(text: str, size: float = LABEL_SIZE) -> float:
    """In inches, within the hinting of letters."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(size=size), ismath=False
    )
    return 1.03 * width / POINTS


def fitted(texts: Sequence[str], width: float, size: float = LABEL_SIZE) -> list[str]:
    """Names without what all share, and short enough."""
    short = _labels.without_common_folder([on_one_line(text) for text in texts])
    return [_labels.shorten(text, width, lambda t: text_width(t, size)) for text in short]


def say(axes: "Axes", text: str) -> None:
    """In place of a picture that would be empty."""
    axes.set_axis_off()
    axes.text(0, 0.5, text, transform=axes.transAxes, va="center", fontsize=9, color=TEXT)


def depth_map():
    """A sequential color map without its lightest colors, which are not seen on white."""
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(
        "depth", [matplotlib.colormaps["viridis"](i / 100) for i in range(86)]
    )
