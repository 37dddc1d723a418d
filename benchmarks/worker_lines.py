"""Splits the output of a worker into lines, for `benchmarks.local_cluster`."""

import math
import re
import time

# In bytes and seconds.
LONGEST_LINE, BAR_SECONDS = 1 << 16, 1.0


class Lines:
    """Splits bytes from a pipe into lines, in linear time.

    A line that is too long is cut. A carriage return restarts a line, as in progress bars. The last
    text of such a line is returned when it ends, and `bar` returns earlier ones from time to time.
    """

    def __init__(self) -> None:
        self.next_bar = -math.inf  # the earliest time to show a bar again
        self.shown: bytes | None = None  # the text of the bar that was shown last
        self._begin(is_bar=False)

    def _begin(self, is_bar: bool) -> None:
        self.text, self.size = bytearray(), 0
        self.is_bar, self.has_returned = is_bar, False

    def add(self, chunk: bytes) -> list[bytes]:
        """Adds a chunk of output. Returns the lines that end in it."""
        lines = []
        for part in re.findall(rb"\n|\r|[^\n\r]+", chunk):
            if part == b"\n":
                lines += self._end()
            elif part == b"\r":
                self.has_returned = True
            else:
                if self.has_returned:
                    self._begin(is_bar=True)
                self.text += part[: LONGEST_LINE - len(self.text)]
                self.size += len(part)
        return lines

    def _end(self) -> list[bytes]:
        text = self._so_far()
        is_known = self.is_bar and text in (b"", self.shown)
        self.shown = None
        self._begin(is_bar=False)
        return [] if is_known else [text]

    def bar(self) -> list[bytes]:
        """The unfinished line, if it is a progress bar and none was shown for a while."""
        if not self.is_bar or time.monotonic() < self.next_bar:
            return []
        text = self._so_far()
        if text in (b"", self.shown):
            return []
        self.shown, self.next_bar = text, time.monotonic() + BAR_SECONDS
        return [text]

    def rest(self) -> list[bytes]:
        """The last line, if it has no line end."""
        return self._end() if self.text else []

    def _so_far(self) -> bytes:
        text = bytes(self.text)
        if self.size > len(text):
            return text + b" ... (%d more bytes)" % (self.size - len(text))
        return text.rstrip(b"\b") if self.is_bar else text  # Keras's bars end with backspaces
