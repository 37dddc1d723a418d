"""The folder for the backups of one training run, into which no other run may write."""

import contextlib
import pathlib
import warnings

from keras_lars.callbacks import _backup_file, _backup_lock
from keras_lars.callbacks._backup_file import Arrays
from keras_lars.callbacks._backup_header import Header, LaterVersionError, Position

# The backups of training runs that ended in this process. The next `fit` is another run.
_ended_here: set[int] = set()


class TakenError(RuntimeError):
    """The backup in the folder is not the one that this training run last read or wrote."""


class BackupFolder:
    """Reads and writes the backup, and knows which one it read or wrote last."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.file = path / "backup.npz"
        self.epoch_file = path / "epoch.npz"  # the last whole epoch, if `file` is in mid-epoch
        self._last = Position()  # read or written
        self._next = Position()  # or this one, if its write was interrupted at its very end
        self._last_epoch = Position()  # in `epoch_file`

    def begin(self) -> None:
        """Lock the folder, and check that it is writable.

        Raises:
            ValueError: If it is not writable, or if another training run uses it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            doubt = _backup_lock.acquire(self.path)
            probe = _backup_file.part_of(self.file)
            try:
                with _backup_file.create(probe) as file:
                    file.write(bytes(4096))
            finally:
                probe.unlink(missing_ok=True)
        except BlockingIOError as error:
            raise ValueError(
                "`backup_dir` must be a folder for this training run alone. Received: "
                f"backup_dir={str(self.path)!r}, in which {error} is training"
            ) from None
        except OSError as error:
            raise ValueError(
                "`backup_dir` must be a folder that can be written to. Received: "
                f"backup_dir={str(self.path)!r} ({error.strerror or error})"
            ) from error
        if doubt:
            warnings.warn(
                f"The folder '{self.path}' cannot be locked ({doubt}). If another training run "
                "writes into it, this one will notice when it saves.",
                stacklevel=2,
            )
        for part in self.path.glob(f"*.npz*{_backup_file.PART}"):
            part.unlink(missing_ok=True)  # left by processes that were killed
        header = _backup_file.read_header(self.file)
        if header is not None and header.position.identity in _ended_here:
            self._last = header.position
            self.delete()

    def end(self, position: Position | None = None) -> None:
        """Unlock the folder. With a position, the training run of that backup has ended."""
        if position is not None:
            _ended_here.add(position.identity)
        _backup_lock.release(self.path)

    def header(self) -> Header | None:
        """The header of the backup, or None if there is none to continue from."""
        header = _backup_file.read_header(self.file)
        self._last = header.position if header else Position()
        self._last_epoch = Position()
        if header is None or header.position.identity in _ended_here:
            return None
        if header.whole_epoch:
            self._last_epoch = Position(header.position.epoch, 0, header.whole_epoch)
        return header

    def whole_epoch(self, header: Header) -> Header | None:
        """The header of the last whole epoch before a backup, or None if it was not kept."""
        if not header.position.batch:
            return header
        whole = _backup_file.read_header(self.epoch_file) if header.whole_epoch else None
        return whole if whole and whole.position == self._last_epoch else None

    def read(self, header: Header, expected: dict[str, list[_backup_file.Spec]]) -> Arrays:
        """The arrays of the expected kinds, from the backup with this header.

        Raises:
            TakenError: If another backup has replaced it.
        """
        path = self.epoch_file if header.position == self._last_epoch else self.file
        arrays = _backup_file.read(path, header, expected)
        if arrays is None:
            raise self._taken()
        return arrays

    def write(self, header: Header, arrays: Arrays, keeps_epoch: bool) -> None:
        """Replace the last backup. With `keeps_epoch`, the last whole epoch is kept beside it.

        Raises:
            OSError: If that fails. The last backup is then unchanged.
            TakenError: If another training run has written one in the meantime.
        """
        position = header.position
        if not self.path.is_dir():
            warnings.warn(
                f"The folder '{self.path}' is gone, and the backup with it. It is created again.",
                stacklevel=2,
            )
            self.path.mkdir(parents=True)
            self._last = self._last_epoch = Position()
        try:
            _backup_lock.acquire(self.path)
        except BlockingIOError:
            raise self._taken() from None
        self._check_that_it_is_ours()
        if keeps_epoch and position.batch and self._last.identity and not self._last.batch:
            _backup_file.keep(self.file, self.epoch_file)
            self._last_epoch = self._last
        if position.batch and position.epoch == self._last_epoch.epoch:
            header = header._replace(whole_epoch=self._last_epoch.identity)
        self._next = position
        _backup_file.write(self.file, header, arrays)
        self._last = position

    def delete(self) -> None:
        """Delete the backup, and that of the last whole epoch."""
        self._check_that_it_is_ours()
        for path in (self.file, self.epoch_file):
            path.unlink(missing_ok=True)
        self._last = self._last_epoch = Position()

    def remove(self) -> None:
        """Remove the folder if it is empty."""
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def what_is_left(self) -> str:
        """Describe the backup in the folder, for a message that a new one could not be written."""
        try:
            header = _backup_file.read_header(self.file)
        except ValueError:
            return "The backup there cannot be read"
        if header is None:
            return "There is no backup"
        return f"The last backup, {header.position.described()}, is still there"

    def _check_that_it_is_ours(self) -> None:
        try:
            header = _backup_file.read_header(self.file)
        except ValueError as error:
            if isinstance(error.__cause__, LaterVersionError):
                raise self._taken() from error
            return  # nobody can continue from a damaged backup, so nothing is lost with it
        ours = (self._last.identity, self._next.identity)
        if header is not None and header.position.identity not in ours:
            raise self._taken()

    def _taken(self) -> TakenError:
        return TakenError(
            f"Another training run uses the folder '{self.path}': the backup there is not the one "
            "that this run read or wrote last. This run stops, and leaves the folder as it is. "
            "Give each training run a folder of its own."
        )
