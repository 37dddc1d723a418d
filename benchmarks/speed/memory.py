"""The resident memory of this process on Linux; None elsewhere."""

import contextlib
import ctypes
import pathlib
from collections.abc import Callable

_STATUS = pathlib.Path("/proc/self/status")
_CLEAR = pathlib.Path("/proc/self/clear_refs")


def settled_bytes() -> int | None:
    """Resident bytes, after the C library has returned freed memory."""
    _trim()
    return _status("VmRSS")


def high_water_bytes(function: Callable[[], None]) -> int | None:
    """The peak of resident bytes while the function runs."""
    _trim()
    try:
        _CLEAR.write_text("5")  # resets the peak to what is resident now
    except OSError:
        return None
    function()
    return _status("VmHWM")


def _trim() -> None:
    with contextlib.suppress(OSError, AttributeError):  # only glibc has `malloc_trim`
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _status(name: str) -> int | None:
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(x.split()[1]) * 1024 for x in lines if x.startswith(f"{name}:")), None)
