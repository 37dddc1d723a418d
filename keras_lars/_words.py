"""Text for messages and files: counts with their nouns, names on one line."""

import re
from collections.abc import Sequence


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: `"1 update"`, `"2 updates"`. The default plural adds an "s"."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


_NAMED = 3  # the most names in a message


def listed(names: Sequence[str]) -> str:
    """The names as code, those after the third only counted: "`a`, `b`, `c` and 2 more"."""
    shown = ", ".join(f"`{name}`" for name in names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown


LONGEST = 200  # the most characters of a value that a message shows


def shortened(text: str) -> str:
    """The text, or its beginning and end if it is longer than `LONGEST`."""
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}"


_ESCAPES = {"\n": "\\n", "\r": "\\r", "\\": "\\\\"}
_ESCAPED = {escaped: plain for plain, escaped in _ESCAPES.items()}


def on_one_line(name: str) -> str:
    """A name with its line breaks written as `\\n` and `\\r`."""
    return name.replace("\n", "\\n").replace("\r", "\\r")


def escaped(name: str) -> str:
    """Like `on_one_line`, with backslashes doubled, so that `unescaped` restores the name."""
    return re.sub(r"[\\\n\r]", lambda found: _ESCAPES[found[0]], name)


def unescaped(text: str) -> str:
    return re.sub(r"\\[\\nr]", lambda found: _ESCAPED[found[0]], text)
