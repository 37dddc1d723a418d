"""What is reported about a training's gradient noise, and when there is no estimate."""

import numpy as np
import pytest

from keras_lars._monitoring.noise import TOTAL, Measurement, Measurements, words


def measured(scales, every=1, spread=0.0):
    """Measurements with these noise scales."""
    signs = (-1) ** np.arange(len(scales))
    return [
        Measurement(1 + i * every, 1.0 + spread * sign, scale)
        for i, (scale, sign) in enumerate(zip(scales, signs, strict=True))
    ]


def test_each_quarter_is_reported_and_the_last_one_decides():
    first, last = words(measured(np.repeat([0.25, 0.5, 1.0, 3.0], 20), every=7))
    assert first == (
        "Gradient noise scale by quarter of training, in batches of one update, from 80 "
        "measurements: 0.25 (0.25 to 0.25); 0.5 (0.5 to 0.5); 1 (1 to 1); 3 (3 to 3)."
    )
    # 1 / (1 + 1 / 3), 1 / (1 + 2 / 3) and 1 / (1 + 4 / 3)
    assert "worth 75% (75% to 75%) of" in last
    assert "twice as large it would be worth at most 60%" in last
    assert "four times as large at most 43%" in last


def test_no_estimate_from_too_few_measurements():
    first, last = words(measured([1.0] * 60))
    assert first.count("no estimate (15 measurements, but 16 are needed)") == 4
    assert "%" not in last
    first, _ = words(measured([1.0]))
    assert "1 measurement: no estimate (1 measurement, but 16 are needed); no estimate (0" in first


@pytest.mark.parametrize("every", [1, 2, 10])
def test_the_remedies(every):
    _, last = words(measured([1.0] * 60, every=every))
    assert last.endswith("train longer.")
    assert ("measure every update with `update_freq=1`" in last) == (every > 1)


def test_no_estimate_if_the_gradient_is_lost_in_noise():
    first, last = words(measured([1.0] * 64, spread=20.0))
    assert first.count("no estimate (16 measurements cannot distinguish the gradient") == 4
    assert "%" not in last


def test_the_record_is_smoothed_over_the_window():
    random = np.random.default_rng(0)
    numbers = 1 + 0.1 * random.normal(size=(40, 2, 2))  # update, variable, quantity
    measurements = Measurements(window=20)
    for update, of_update in enumerate(numbers, 1):
        pairs = {"a": tuple(of_update[0]), "b": tuple(of_update[1])}
        rows = measurements.add(update, update / 2, pairs)
        assert [row.variable for row in rows] == ["a", "b", TOTAL]
        assert np.isnan([row.noise_scale for row in rows]).all() == (update < 16)
    means = numbers[-20:].mean(axis=0)
    expected = [*(means[:, 1] / means[:, 0]), means[:, 1].sum() / means[:, 0].sum()]
    np.testing.assert_allclose([row.noise_scale for row in rows], expected)
    assert all(row.low < row.noise_scale < row.high for row in rows)
    assert rows[2].gradient_square == pytest.approx(numbers[-1, :, 0].sum())
    assert (rows[2].update, rows[2].epoch) == (40, 20)


def test_measurements_continue_from_written_rows():
    random = np.random.default_rng(1)
    whole, again = Measurements(window=20), Measurements(window=20)
    written = []
    for update in range(1, 31):
        pairs = {"a": tuple(1 + 0.1 * random.normal(size=2))}
        if update == 25:
            again.add_rows(written)
        rows = whole.add(update, 0.0, pairs)
        if update >= 25:
            assert again.add(update, 0.0, pairs) == rows
        written += rows
    assert again.of_all == whole.of_all


def test_another_network_starts_new_measurements():
    measurements = Measurements(window=20)
    for update in range(1, 20):
        measurements.add(update, 0.0, {"a": (1.0, 1.0)})
    rows = measurements.add(20, 0.0, {"b": (1.0, 1.0), "c": (1.0, 1.0)})
    assert np.isnan([row.noise_scale for row in rows]).all()
