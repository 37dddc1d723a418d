"""Numbers with what they count, and durations, in words."""


def counted(count: float, noun: str, plural: str = "", spec: str = "") -> str:
    """`"1 update"`, `"2 updates"`.

    Args:
        count: How many.
        noun: What, of one.
        plural: What, of several; by default with an "s" at the end.
        spec: How the number is written, as in an f-string: "," is for thousands.
    """
    return f"{count:{spec}} {noun if count == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """A duration as one says it."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return counted(round(seconds), "second")
