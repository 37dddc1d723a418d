"""The section of a page about gradient noise, if `NoiseScaleMonitor` has recorded it."""

import base64
import html
import os
import pathlib
import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_lars import _arguments
from keras_lars._monitoring import noise, record
from keras_lars._monitoring.record import NOISE_SCALE, TRUST_RATIOS, NoiseRow
from keras_lars._noise_scale import MEASUREMENTS
from keras_lars.report._page import number, part, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOT = "noise_scale.png"


def locate(run: str | os.PathLike[str]) -> pathlib.Path | None:
    """The record of the noise in a folder, or beside a file, or None if there is none."""
    path = _arguments.path("run", run)
    if path.is_file():
        if path.name in NOISE_SCALE.names:
            return path
        path = path.parent
    return next((path / name for name in NOISE_SCALE.names if (path / name).is_file()), None)


def is_alone(run: str | os.PathLike[str]) -> bool:
    """Whether there is no record of norms and ratios to draw as well."""
    path = _arguments.path("run", run)
    if path.is_file():
        return path.name in NOISE_SCALE.names
    return not any((path / name).is_file() for name in TRUST_RATIOS.names)


def read(path: pathlib.Path) -> list[NoiseRow]:
    """All rows. Raises ValueError if there are none, or none for all variables together."""
    rows = record.read(path, NOISE_SCALE)
    if not noise.of_all(rows):
        raise _arguments.refusal("run", f"a record with rows of `{noise.TOTAL}`", str(path))
    return rows


def section(rows: Sequence[NoiseRow], plot: bytes) -> str:
    """The results in words, the plot, and the last record of each variable."""
    texts = noise.words(noise.of_all(rows))
    paragraphs = "\n".join(f"<p>{html.escape(line)}</p>" for line in texts)
    image = base64.b64encode(plot).decode()
    head = "<th>variable" + "".join(
        f'<th class="number">{name}' for name in ("noise scale", "at least", "at most")
    )
    last = [row for row in rows if row.update == rows[-1].update]
    lines = [
        f"<tr><td>{html.escape(str(row.variable))}"
        + "".join(f'<td class="number">{_cell(x)}' for x in (row.noise_scale, row.low, row.high))
        for row in last
    ]
    return (
        f"<h2>Gradient noise</h2>\n{paragraphs}\n"
        f'<img alt="Gradient noise scale by update" src="data:image/png;base64,{image}">\n'
        f"<p>Smoothed, at update {rows[-1].update}, in batches of one update. Cells are empty with "
        f"fewer than {MEASUREMENTS} measurements, or if the scale cannot be estimated.</p>\n"
        f"{table(head, lines)}"
    )


def _cell(value: float) -> str:
    return number(value) if np.isfinite(value) else ""


def page(path: pathlib.Path, section: str) -> str:
    """The page of a training run of which nothing else was recorded."""
    parts = {
        "title": f"Gradient noise: {html.escape(path.absolute().parent.name)}",
        "style": part("page.css"),
        "section": section,
        "file": html.escape(path.name),
    }
    return string.Template(part("noise.html")).substitute(parts)


def figure(rows: Sequence[NoiseRow]) -> "Figure":
    """A plot of the noise scale of all variables together, with its confidence interval."""
    from matplotlib.figure import Figure

    drawn = [row for row in rows if row.variable == noise.TOTAL and row.noise_scale > 0]
    figure = Figure(figsize=(9.0, 3.0))
    axes = figure.subplots()
    axes.set_title("Gradient noise scale, in batches of an update")
    axes.set_xlabel("update")
    if not drawn:
        axes.set_axis_off()
        axes.text(0, 0.5, "The noise scale cannot be estimated.", transform=axes.transAxes)
        return figure
    updates, scale, low, high = np.array(
        [(row.update, row.noise_scale, row.low, row.high) for row in drawn]
    ).T
    axes.fill_between(updates, np.maximum(low, scale / 100), high, alpha=0.25, linewidth=0)
    axes.plot(updates, scale, marker="." if len(drawn) == 1 else "")
    axes.set_yscale("log")
    axes.grid(axis="y", alpha=0.25)
    return figure
