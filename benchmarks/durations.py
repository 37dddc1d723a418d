"""Durations in words."""

from benchmarks.words import counted


def in_words(seconds: float) -> str:
    """A duration as one says it."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return counted(round(seconds), "second")
