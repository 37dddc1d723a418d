"""Numbers with what they count."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """`"1 update"`, `"2 updates"`; the plural has an "s" at the end unless it is given."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
