"""The measured gradient noise of a training run, smoothed, and the words for it."""

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from keras_lars import _noise_scale
from keras_lars._monitoring.record import NoiseRow
from keras_lars._noise_scale import MEASUREMENTS, Estimate
from keras_lars._words import counted

TOTAL = "(all)"  # in place of a variable's name, which has no brackets


class Measurement(NamedTuple):
    """|G|^2 and tr(Sigma) at one update, for one variable or for all."""

    update: int
    gradient_square: float
    noise_square: float


class Measurements:
    """All measurements of all variables together, and the last ones of each."""

    def __init__(self, window: int):
        self.of_all: list[Measurement] = []
        self._keys: list[str] = []
        self._last: collections.deque[np.ndarray] = collections.deque(maxlen=window)

    def add_rows(self, rows: Iterable[NoiseRow]) -> None:
        """Add the measurements of an existing record."""
        by_update: dict[int, dict[str, tuple[float, float]]] = collections.defaultdict(dict)
        for row in rows:
            by_update[row.update][str(row.variable)] = row.gradient_square, row.noise_square
        for update, pairs in sorted(by_update.items()):
            pairs.pop(TOTAL, None)
            self._add(update, pairs)

    def add(
        self, update: int, epoch: float, pairs: Mapping[str, tuple[float, float]]
    ) -> list[NoiseRow]:
        """Add (gradient_square, noise_square) of each variable, and return the smoothed rows."""
        self._add(update, pairs)
        last = np.stack(list(self._last), axis=-1)  # shape=(variables + 1, 2, measurements)
        estimates = _noise_scale.estimate(last[:, 0], last[:, 1])
        return [
            NoiseRow(update, epoch, key, *map(float, (*last[i, :, -1], *estimate)))
            for i, (key, estimate) in enumerate(zip([*pairs, TOTAL], zip(*estimates)))
        ]

    def _add(self, update: int, pairs: Mapping[str, tuple[float, float]]) -> None:
        if list(pairs) != self._keys:  # another network
            self._keys = list(pairs)
            self._last.clear()
        measured = np.array(list(pairs.values()), np.float64)
        total = measured.sum(axis=0)
        self._last.append(np.concatenate([measured, total[None]]))
        self.of_all.append(Measurement(update, *map(float, total)))


def of_all(rows: Iterable[NoiseRow]) -> list[Measurement]:
    """The measurements in a record that are for all variables together."""
    return [
        Measurement(row.update, row.gradient_square, row.noise_square)
        for row in rows
        if row.variable == TOTAL
    ]


def words(measurements: Sequence[Measurement]) -> list[str]:
    """The results in words: the noise scale by quarter, and what batch sizes are worth."""
    quarters = _quarters(measurements)
    by_quarter = [_in_words(_estimate(quarter), len(quarter)) for quarter in quarters]
    lines = [
        f"Gradient noise scale by quarter of training, in batches of one update, from "
        f"{counted(len(measurements), 'measurement')}: {'; '.join(by_quarter)}."
    ]
    last = last_quarter(measurements)
    if np.isnan(last.noise_scale):
        is_each_measured = 1 in np.diff([each.update for each in measurements])
        more = "" if is_each_measured else "measure every update with `update_freq=1`, or "
        lines.append(f"To learn what a batch is worth, {more}train longer.")
        return lines
    now, twice, four_times = (
        f"{_noise_scale.worth(float(last.noise_scale), batches):.0%}" for batches in (1, 2, 4)
    )
    low, high = (f"{_noise_scale.worth(float(end)):.0%}" for end in (last.low, last.high))
    lines.append(
        f"According to the last quarter, a pass over the data in batches of this size is worth "
        f"{now} ({low} to {high}) of a pass in very small batches. In batches twice as large it "
        f"would be worth at most {twice}, and in batches four times as large at most {four_times}. "
        "The estimate says nothing about even larger batches."
    )
    return lines


def last_quarter(measurements: Sequence[Measurement]) -> Estimate:
    """The noise scale from which the worth of batch sizes follows, in batches of an update."""
    return _estimate(_quarters(measurements)[-1])


def _quarters(measurements: Sequence[Measurement]) -> list[list[Measurement]]:
    """The measurements of each quarter of the updates from the first one to the last."""
    first, last = measurements[0].update, measurements[-1].update
    quarters: list[list[Measurement]] = [[], [], [], []]
    for each in measurements:
        quarters[4 * (each.update - first) // (last - first + 1)].append(each)
    return quarters


def _estimate(measurements: Sequence[Measurement]) -> Estimate:
    pairs = np.array([each[1:] for each in measurements]).reshape(-1, 2)
    return _noise_scale.estimate(pairs[:, 0], pairs[:, 1])


def _in_words(estimate: Estimate, count: int) -> str:
    if not np.isnan(estimate.noise_scale):
        return f"{estimate.noise_scale:.2g} ({estimate.low:.2g} to {estimate.high:.2g})"
    if count < MEASUREMENTS:
        return f"no estimate ({counted(count, 'measurement')}, but {MEASUREMENTS} are needed)"
    return f"no estimate ({count} measurements cannot distinguish the gradient from its noise)"
