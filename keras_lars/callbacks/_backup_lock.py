"""A lock that shows that a running process trains in a folder.

It is the operating system's lock on a file, which is released if the process is killed. Between
processes of one machine it is reliable. Between machines it depends on the shared file system: NFS
4 and most others support it, a few report that they do not, and some only pretend to.
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

PATIENCE = 5.0  # seconds to wait for a process that is ending

_held: dict[tuple[int, str], int] = {}  # descriptors, by process and folder


def acquire(folder: pathlib.Path) -> str | None:
    """Lock a folder, which this process may have locked already.

    Returns:
        None, or why the folder cannot be locked.

    Raises:
        BlockingIOError: If another process has locked it. The message names that process.
        OSError: If the lock file cannot be created.
    """
    if fcntl is None:
        return "this system has no file locks"
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
        # The loop checks again, because the last owner may have deleted the file meanwhile.
        _held[key] = descriptor
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return None


def release(folder: pathlib.Path) -> None:
    """Release the lock, if this process has it."""
    path, key = folder / "backup.lock", (os.getpid(), os.path.realpath(folder))
    if _is_at(_held.get(key), path):
        with contextlib.suppress(OSError):
            path.unlink()
    _close(key)


def _close(key: tuple[int, str]) -> None:
    # Closing any descriptor of the file releases the lock, so a process has only one.
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
    """Whether the open file is still the one at this path."""
    if descriptor is None:
        return False
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False
