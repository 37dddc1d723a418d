"""Counts and durations in words."""


def counted(count: float, noun: str, plural: str = "", spec: str = "") -> str:
    """`"1 update"`, `"2 updates"`.

    Args:
        count: The number.
        noun: What is counted, in the singular.
        plural: The plural; by default the noun with an "s".
        spec: Format of the number, as in an f-string: "," separates thousands.
    """
    return f"{count:{spec}} {noun if count == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """A duration, in the largest unit of which there are at least two."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return counted(round(seconds), "second")
