"""What the times of the rounds say: medians, quartiles, and ratios taken within each round."""

import statistics
from collections.abc import Iterable


def summarize(model: dict) -> dict:
    """The same model with a "summary" in each result that was measured."""
    rounds = {
        (row["framework"], row["contender"]): row["rounds_us"]
        for row in model["results"]
        if row["status"] == "measured"
    }
    firsts = {
        (row["framework"], row["contender"]): row["first_call_seconds"] for row in model["results"]
    }
    rivals = [
        (statistics.median(row["rounds_us"]), row["rounds_us"])
        for row in model["results"]
        if row["status"] == "measured" and row["role"] == "lars" and not row["ours"]
    ]
    fastest_rival = min(rivals)[1] if rivals else None
    results = []
    for row in model["results"]:
        summary = None
        if row["status"] == "measured":
            key = (row["framework"], row["compared_to"])
            summary = {
                **spread(row["rounds_us"]),
                "gigabytes_per_second": _speed(row, model["parameters"]),
                "ratio": ratio(row["rounds_us"], rounds.get(key)),
                "ratio_to_fastest_lars": ratio(row["rounds_us"], fastest_rival),
                "first_call_ratio": (
                    row["first_call_seconds"] / firsts[key] if rounds.get(key) else None
                ),
            }
        results.append({**row, "summary": summary})
    return {**model, "results": results}


def spread(rounds_us: list[int]) -> dict:
    quartiles = (
        statistics.quantiles(rounds_us, n=4, method="inclusive")
        if len(rounds_us) > 1
        else rounds_us * 3
    )
    names = ("lower_quartile_ms", "median_ms", "upper_quartile_ms")
    milliseconds = {name: us / 1000 for name, us in zip(names, quartiles)}
    return {**milliseconds, "min_ms": min(rounds_us) / 1000}


def _speed(row: dict, parameters: int) -> float | None:
    """Gigabytes a second, of those that the update cannot do without."""
    if row["bytes_per_parameter"] is None:
        return None
    size = row["bytes_per_parameter"] * parameters
    return size / statistics.median(row["rounds_us"]) / 1e3


def ratio(rounds_us: Iterable[int], others_us: Iterable[int] | None) -> float | None:
    """The median of the ratios within each round."""
    if others_us is None:
        return None
    return statistics.median(a / b for a, b in zip(rounds_us, others_us))
