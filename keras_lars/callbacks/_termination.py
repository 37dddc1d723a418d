"""Lets SIGTERM end the process only after a backup, which all workers take after the same batch."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import keras

from keras_lars._keras import fitted_model, heartbeat
from keras_lars.multi_worker import WorkerLostError

# How often workers ask each other whether one has to end. Schedulers wait for half a minute or so.
_SECONDS = 2.0
_MOST_BATCHES = 10**6


class Termination:
    """Notes SIGTERM during a `fit`, until the signal may take effect.

    In a single process, a handler of the user's own is left alone. In a cluster TensorFlow has
    already replaced it, so it gets the signal from here, after the backup.
    """

    def __init__(self, exchange: Callable[..., list[tuple[int, ...]]] | None = None):
        self._exchange = exchange  # the numbers that all workers pass; None in a single process
        self._is_running: Callable[[], bool] = lambda: False  # the `fit`, in this thread
        self._process = os.getpid()
        self._before: Any = signal.SIG_DFL  # the handler to restore
        self.is_asked = False  # to end this process
        self._batches = 0  # since the workers asked each other
        self._ask_after = 1  # so many
        self._asked_at = time.monotonic()

    def begin(self, model: keras.Model) -> None:
        """Note the signal from now on, in a `fit` of the main thread, as Python requires."""
        if threading.current_thread() is not threading.main_thread():
            return
        handler = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
        other = getattr(handler, "__self__", None)
        if isinstance(other, Termination):
            if other._is_running():
                return  # one callback is enough, and the outer `fit` goes on after an inner one
            handler, self.is_asked = other._before, other.is_asked  # its `fit` has failed
        is_own = handler != signal.SIG_DFL and self._exchange is None
        if handler != signal.SIG_IGN and not is_own:
            self._before, self._is_running = handler, fitted_model.running_fit(model)
            signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.is_asked = True
        # Nothing will be saved if `fit` has failed, nor in a child process, which has its stack.
        if os.getpid() != self._process or not self._is_running():
            self.end()

    def check(self, save: Callable[[], None], is_training: bool) -> None:
        """After a batch: if a worker is asked to end, save and end. All workers must call it.

        They ask each other in training alone: they may validate different numbers of batches, and
        those that are skipped after a restart do not show how long a batch takes.

        Raises:
            WorkerLostError: If it is another worker.
        """
        if not self._is_due(is_training):
            return
        with contextlib.suppress(*heartbeat.LOST):  # one that was asked may end first
            save()
        was_asked = self.is_asked
        self.end()
        if not was_asked:
            raise WorkerLostError(
                "Another worker has received SIGTERM and ends, so this one cannot continue. "
                "Restart all workers: they continue from the last backup"
            )

    def _is_due(self, is_training: bool) -> bool:
        if self._exchange is None:
            return self.is_asked
        if not is_training:
            return False
        self._batches += 1
        if self._batches < self._ask_after:
            return False
        seconds = max(time.monotonic() - self._asked_at, 1e-3)
        batches = min(max(1, round(_SECONDS * self._batches / seconds)), _MOST_BATCHES)
        rows = self._exchange(int(self.is_asked), batches)
        self._batches, self._asked_at = 0, time.monotonic()
        self._ask_after = min(batches for _, batches, *_ in rows)
        return any(is_asked for is_asked, *_ in rows)

    def end(self) -> None:
        """Restore the handler that was there before, and pass it the signal if there was one."""
        # A handler that the user has set since is kept.
        if self.is_asked or signal.getsignal(signal.SIGTERM) == self._note:
            signal.signal(signal.SIGTERM, self._before)
        if self.is_asked:
            self.is_asked = False
            signal.raise_signal(signal.SIGTERM)
