"""Counts and durations in words."""


def counted(count: float, noun: str, plural: str = "", spec: str = "") -> str:
    """`"1 update"`, `"2 updates"`; `spec` is the format of the number, as in an f-string."""
    return f"{count:{spec}} {noun if count == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """A duration, in the largest unit of which there are at least two."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return counted(round(seconds), "second")
