"""Lines of what a worker writes, for the one who copies them: `benchmarks.local_cluster`."""

import math
import time

# In bytes and seconds.
LONGEST_LINE, BAR_SECONDS = 1 << 16, 1.0


class Lines:
    """Makes lines of the bytes that come out of a pipe, in time linear in their number.

    The rest of a line that is too long is left out. A carriage return restarts a line, as
    progress bars do: of such a line the last text is shown at its end, and now and then before.
    """

    def __init__(self) -> None:
        self.next_bar = -math.inf  # the time from which a bar may be shown again
        self.shown: bytes | None = None  # of the bar
        self._begin(is_bar=False)

    def _begin(self, is_bar: bool) -> None:
        self.text, self.size = bytearray(), 0
        self.is_bar, self.has_returned = is_bar, False

    def add(self, chunk: bytes) -> list[bytes]:
        """The lines that end in this chunk."""
        first, *others = chunk.split(b"\n")
        self._extend(first)
        lines = []
        for piece in others:
            lines += self._end()
            self._extend(piece)
        return lines

    def _extend(self, piece: bytes) -> None:
        for i, part in enumerate(piece.split(b"\r")):
            self.has_returned |= i > 0
            if part and self.has_returned:
                self._begin(is_bar=True)
            self.text += part[: LONGEST_LINE - len(self.text)]
            self.size += len(part)

    def _end(self) -> list[bytes]:
        text = self._so_far()
        is_known = self.is_bar and text in (b"", self.shown)
        self.shown = None
        self._begin(is_bar=False)
        return [] if is_known else [text]

    def bar(self) -> list[bytes]:
        """The line that has no end yet, if it is a bar, and none was shown for a while."""
        if not self.is_bar or time.monotonic() < self.next_bar:
            return []
        text = self._so_far()
        if text in (b"", self.shown):
            return []
        self.shown, self.next_bar = text, time.monotonic() + BAR_SECONDS
        return [text]

    def rest(self) -> list[bytes]:
        """The last line, which has no end."""
        return self._end() if self.text else []

    def _so_far(self) -> bytes:
        text = bytes(self.text)
        if self.size > len(text):
            return text + b" ... (%d more bytes)" % (self.size - len(text))
        return text.rstrip(b"\b") if self.is_bar else text  # a bar goes back over itself
