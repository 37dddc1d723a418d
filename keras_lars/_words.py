"""Words of messages and files: numbers with what they count, names on one line."""

import re


def counted(count: int, noun: str, plural: str = "") -> str:
    """`"1 update"`, `"2 updates"`; the plural has an "s" at the end unless it is given."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


LONGEST = 200  # characters of a value in a message


def shortened(text: str) -> str:
    """Its beginning and its end, where it is long."""
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}"


_ESCAPES = {"\n": "\\n", "\r": "\\r", "\\": "\\\\"}
_ESCAPED = {escaped: plain for plain, escaped in _ESCAPES.items()}


def on_one_line(name: str) -> str:
    """A name as a line of text shows it: line breaks as `\\n` and `\\r`."""
    return name.replace("\n", "\\n").replace("\r", "\\r")


def escaped(name: str) -> str:
    """The same, with backslashes doubled, so that `unescaped` gives the name back."""
    return re.sub(r"[\\\n\r]", lambda found: _ESCAPES[found[0]], name)


def unescaped(text: str) -> str:
    return re.sub(r"\\[\\nr]", lambda found: _ESCAPED[found[0]], text)
