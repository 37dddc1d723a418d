"""Where labels go, and what they say: pure functions, none of which draws."""

import math
from collections.abc import Callable, Sequence


def without_common_folder(names: Sequence[str]) -> list[str]:
    """Names without the leading parts that all of them share; the last part always stays."""
    if len(names) < 2:
        return list(names)
    parts = [name.split("/") for name in names]
    shared = 0
    while all(len(p) > shared + 1 for p in parts) and len({p[shared] for p in parts}) == 1:
        shared += 1
    return ["/".join(p[shared:]) for p in parts]


def shorten(text: str, width: float, measure: Callable[[str], float]) -> str:
    """The text, or as much of its end as fits into the width: paths differ at the end.

    No text much longer than what fits is measured, which takes time in proportion to its length.
    """
    fits, exceeds = 0, 16  # characters of its end
    while exceeds < len(text) and measure(text[-exceeds:]) <= width:
        exceeds *= 2
    if exceeds >= len(text):
        exceeds = len(text)
        if measure(text) <= width:
            return text
    while exceeds - fits > 1:
        middle = (fits + exceeds) // 2
        if measure("…" + text[-middle:]) <= width:
            fits = middle
        else:
            exceeds = middle
    return "…" + text[len(text) - fits :]


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels, `gap` apart, between `low` and `high`, in the order of what is wanted.

    Of all such places the ones with the least squares to those wanted: neighbors that are too close
    are joined into blocks around their mean (pool adjacent violators).
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    blocks: list[list[float]] = []  # sum of the places, less the gaps below them, and their number
    for rank, i in enumerate(order):
        blocks.append([wanted[i] - rank * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] > blocks[-1][0] * blocks[-2][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    highest = high - (len(wanted) - 1) * gap
    means = [total / count for total, count in blocks for _ in range(int(count))]
    places = [0.0] * len(wanted)
    for rank, i in enumerate(order):
        places[i] = max(low, min(highest, means[rank])) + rank * gap
    return places


def of_rows(
    names: Sequence[str], row_height: float, line_height: float
) -> tuple[str, list[tuple[float, str]]]:
    """Which rows of a heat map are labelled: ("variables" or "layers", [(row, label), ...]).

    Every row, if there is room. Else layers, which are rows in sequence whose names differ in the
    last part only, each label in the middle of its rows; those without room are left out.
    """
    if row_height >= line_height:
        return "variables", [(float(i), name) for i, name in enumerate(names)]
    layers: list[tuple[str, list[int]]] = []
    for i, name in enumerate(names):
        layer = name.rpartition("/")[0] or name
        if layers and layers[-1][0] == layer:
            layers[-1][1].append(i)
        else:
            layers.append((layer, [i]))
    labels: list[tuple[float, str]] = []
    for layer, rows in layers:
        middle = (rows[0] + rows[-1]) / 2
        if not labels or (middle - labels[-1][0]) * row_height >= line_height:
            labels.append((middle, layer))
    return "layers", labels


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers for a logarithmic axis: as many as there are, but not more than `most`.

    At least one if `high` is at least twice `low`.
    """
    exponents = range(math.floor(math.log10(low)), min(math.ceil(math.log10(high)), 308) + 1)
    for digits in (range(1, 10), (1, 2, 5), (1,)):
        ticks = [digit * 10.0**exponent for exponent in exponents for digit in digits]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: -(-len(ticks) // most)]


def plain(value: float) -> str:
    """A number as short as can be."""
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
