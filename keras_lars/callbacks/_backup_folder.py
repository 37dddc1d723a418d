"""The folder of one training's backups, which no other training may write into."""

import contextlib
import pathlib
import warnings

from keras_lars.callbacks import _backup_file, _backup_lock
from keras_lars.callbacks._backup_file import Arrays
from keras_lars.callbacks._backup_header import Header, LaterVersionError, Position

# Backups of trainings that ended in this process: whatever comes next is another training.
_ended_here: set[int] = set()


class TakenError(RuntimeError):
    """The folder holds a backup that is not the one that this training last read or wrote."""


class BackupFolder:
    """Reads and writes the backup, and knows which one it read or wrote last."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.file = path / "backup.npz"
        self.epoch_file = path / "epoch.npz"  # the last whole epoch, while `file` is in mid-epoch
        self._last = Position()  # read or written
        self._last_epoch = Position()  # in `epoch_file`

    def begin(self) -> None:
        """Lock the folder, and find out whether it can be written to.

        Raises:
            ValueError: If it cannot be, or another training is there.
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
            part.unlink(missing_ok=True)  # of processes that were killed: none lives here now
        header = _backup_file.read_header(self.file)
        if header is not None and header.position.identity in _ended_here:
            self._last = header.position
            self.delete()

    def end(self, position: Position | None = None) -> None:
        """Unlock the folder. The training of the backup with this position has ended."""
        if position is not None:
            _ended_here.add(position.identity)
        _backup_lock.release(self.path)

    def header(self) -> Header | None:
        """The header of the backup; None without one that this process could continue from."""
        header = _backup_file.read_header(self.file)
        self._last = header.position if header else Position()
        self._last_epoch = Position()
        if header is None or header.position.identity in _ended_here:
            return None
        if header.whole_epoch:
            self._last_epoch = Position(header.position.epoch, 0, header.whole_epoch)
        return header

    def whole_epoch(self, header: Header) -> Header | None:
        """The header of the last whole epoch, by that of the backup; None if it is not kept."""
        if not header.position.batch:
            return header
        whole = _backup_file.read_header(self.epoch_file) if header.whole_epoch else None
        return whole if whole and whole.position == self._last_epoch else None

    def read(self, header: Header, expected: dict[str, list[_backup_file.Spec]]) -> Arrays:
        """Arrays of the backup with this header, of some kinds.

        Raises:
            TakenError: If there is another backup in its place by now.
        """
        path = self.epoch_file if header.position == self._last_epoch else self.file
        arrays = _backup_file.read(path, header, expected)
        if arrays is None:
            raise self._taken()
        return arrays

    def write(self, header: Header, arrays: Arrays, keeps_epoch: bool) -> None:
        """Put a new backup in the place of the last one; `keeps_epoch` keeps whole epochs beside.

        Raises:
            OSError: If that fails; the last backup is as it was.
            TakenError: If another training has written one in the meantime.
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
        _backup_file.write(self.file, header, arrays)
        self._last = position

    def delete(self) -> None:
        """Delete the backup, and the folder if nothing else is in it."""
        self._check_that_it_is_ours()
        for path in (self.file, self.epoch_file):
            path.unlink(missing_ok=True)
        self._last = self._last_epoch = Position()

    def remove(self) -> None:
        """Remove the folder if nothing is in it."""
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def what_is_left(self) -> str:
        """In words, for whoever reads that a new backup could not be written."""
        try:
            header = _backup_file.read_header(self.file)
        except ValueError:
            return "The backup there cannot be read"
        if header is None:
            return "There is no backup"
        epoch, batch, _ = header.position
        return f"The last backup, of epoch {epoch} and batch {batch}, is still there"

    def _check_that_it_is_ours(self) -> None:
        try:
            header = _backup_file.read_header(self.file)
        except ValueError as error:
            if isinstance(error.__cause__, LaterVersionError):
                raise self._taken() from error
            return  # nobody can continue from it, and nothing is lost with it
        if header is not None and header.position.identity != self._last.identity:
            raise self._taken()

    def _taken(self) -> TakenError:
        return TakenError(
            f"Another training run uses the folder '{self.path}': the backup there is not the one "
            "that this run read or wrote last. This run stops, and leaves the folder as it is. "
            "Give each training run a folder of its own."
        )
