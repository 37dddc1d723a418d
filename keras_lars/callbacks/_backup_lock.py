"""A lock that says that a living process trains in a folder.

It is a lock of the operating system on a file, which a process that is killed gives back. Between
processes of one machine it is certain. Between machines it depends on the shared file system: NFS
4 and most others have it, a few say that they have not, and some pretend.
"""

import contextlib
import errno
import os
import pathlib
import socket
import stat
import time

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]

PATIENCE = 5.0  # seconds: a process that is being ended may take some

_held: dict[tuple[int, str], int] = {}  # descriptors, by process and folder


def acquire(folder: pathlib.Path) -> str | None:
    """Lock a folder, which this process may have locked already.

    Returns:
        None, or why it cannot be known whether another process trains there.

    Raises:
        BlockingIOError: If another one does; the message says which.
        OSError: If the file cannot be made.
    """
    if fcntl is None:
        return "this system has no such locks"
    path, key = folder / "backup.lock", (os.getpid(), os.path.realpath(folder))
    deadline = time.monotonic() + PATIENCE
    while not _is_at(_held.get(key), path):
        _close(key)
        descriptor = _open(path)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return str(error)
            if time.monotonic() > deadline:
                raise BlockingIOError(owner or "an unknown process") from None
            time.sleep(0.1)
            continue
        # The next turn finds out whether the one who had it has deleted the file since.
        _held[key] = descriptor
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return None


def release(folder: pathlib.Path) -> None:
    """Give the lock back, if this process has it."""
    path, key = folder / "backup.lock", (os.getpid(), os.path.realpath(folder))
    if _is_at(_held.get(key), path):
        with contextlib.suppress(OSError):
            path.unlink()
    _close(key)


def _close(key: tuple[int, str]) -> None:
    # To close any descriptor of the file gives the lock back: there is one for each process.
    if key in _held:
        os.close(_held.pop(key))


def _open(path: pathlib.Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.EEXIST, "not a file of this package", str(path))
    return descriptor


def _is_at(descriptor: int | None, path: pathlib.Path) -> bool:
    """Whether this open file is the one that has this name."""
    if descriptor is None:
        return False
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False
