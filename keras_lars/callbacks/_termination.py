"""Lets SIGTERM end the process only after a backup, which all workers take after the same batch."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import keras

from keras_lars._keras import fitted_model
from keras_lars.multi_worker import WorkerLostError

# How often workers ask each other whether one has to end. Schedulers wait for half a minute or so.
_SECONDS = 2.0
_MOST_BATCHES = 10**6


class Termination:
    """Notes SIGTERM during a `fit`, until the signal may take effect.

    In a single process, a handler of the user's own is left alone. In a cluster TensorFlow has
    already replaced it, so it gets the signal from here, after the backup.
    """

    def __init__(
        self, model: keras.Model, exchange: Callable[..., list[tuple[int, ...]]] | None = None
    ):
        self._model = model
        self._exchange = exchange  # the numbers that all workers pass; None in a single process
        self._before: Any = None  # the handler to restore; None if nothing is noted
        self._is_asked = False  # to end this process
        self._batches = 0  # since the workers asked each other
        self._ask_after = 1  # so many
        self._asked_at = time.monotonic()

    def begin(self) -> None:
        """Note the signal from now on. A no-op outside the main thread, as Python requires."""
        if threading.current_thread() is not threading.main_thread():
            return
        handler = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
        failed = getattr(handler, "__self__", None)
        if isinstance(failed, Termination) and not fitted_model.is_fitting(failed._model):
            handler = failed._before
        is_own = handler != signal.SIG_DFL and self._exchange is None
        if handler != signal.SIG_IGN and not is_own:
            self._before = handler
            signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._is_asked = True
        if not fitted_model.is_fitting(self._model):  # it has failed, so nothing will be saved
            self.end()

    def check(self, save: Callable[[], None], is_validating: bool = False) -> None:
        """After a batch: if a worker is asked to end, save and end. All workers must call it.

        Raises:
            WorkerLostError: If it is another worker.
        """
        if not self._is_due(is_validating):
            return
        save()
        was_asked = self._is_asked
        self.end()
        if not was_asked:
            raise WorkerLostError(
                "Another worker has received SIGTERM and ends, so this one cannot continue. "
                "Restart all workers: they continue from the backup"
            )

    def _is_due(self, is_validating: bool) -> bool:
        if self._exchange is None:
            return self._is_asked
        if is_validating:
            return False  # workers may validate different numbers of batches
        self._batches += 1
        if self._batches < self._ask_after:
            return False
        seconds = max(time.monotonic() - self._asked_at, 1e-3)
        batches = min(max(1, round(_SECONDS * self._batches / seconds)), _MOST_BATCHES)
        rows = self._exchange(int(self._is_asked), batches)
        self._batches, self._asked_at = 0, time.monotonic()
        self._ask_after = min(batches for _, batches, *_ in rows)
        return any(is_asked for is_asked, *_ in rows)

    def end(self) -> None:
        """Restore the handler that was there before, and pass it the signal if there was one."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None
        if self._is_asked:
            self._is_asked = False
            signal.raise_signal(signal.SIGTERM)
