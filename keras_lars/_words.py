"""Words of messages and files: numbers with what they count, names on one line."""

import re


def counted(count: int, noun: str, plural: str = "") -> str:
    """`"1 update"`, `"2 updates"`; the plural has an "s" at the end unless it is given."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


_ESCAPED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_PLAIN = {escaped: plain for plain, escaped in _ESCAPED.items()}


def on_one_line(name: str) -> str:
    """A name with its line breaks as `\\n` and `\\r`, and backslashes doubled."""
    return re.sub(r"[\\\n\r]", lambda found: _ESCAPED[found[0]], name)


def from_one_line(text: str) -> str:
    """The name that `on_one_line` made it of."""
    return re.sub(r"\\[\\nr]", lambda found: _PLAIN[found[0]], text)
