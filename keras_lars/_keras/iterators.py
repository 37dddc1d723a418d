"""Deletes data iterators in another thread, so that `fit` does not wait (fault 18)."""

import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf


def delete_elsewhere(epochs: Any) -> None:
    """Let another thread delete each iterator that this `TFEpochIterator` creates."""
    if "_get_iterator" not in vars(epochs):
        epochs._get_iterator = _Iterable(epochs._get_iterator)


class _Iterable:
    """What Keras calls to get the data of an epoch, and then iterates over."""

    def __init__(self, original: Callable[[], Any]):
        self.original = original

    def __call__(self) -> "_Iterable":
        return self

    def __iter__(self) -> Iterator[Any]:
        iterator: Iterator[Any] = iter(self.original())
        resources = tf.nest.flatten(iterator, expand_composites=True)
        weakref.finalize(iterator, _delete, resources).atexit = False
        return iterator


def _delete(resources: list[Any]) -> None:
    # Python cannot start a thread while it exits. Then the iterator is deleted here.
    if threading.main_thread().is_alive() and not sys.is_finalizing():
        # Not a daemon: it would abort the process if it was inside TensorFlow at exit.
        threading.Thread(target=_outlive, args=(resources,), daemon=False).start()


def _outlive(resources: list[Any]) -> None:
    """Hold each resource until nobody else does, so that it is deleted in this thread."""
    while resources:
        # One reference is the list's, and one is that of the call.
        if sys.getrefcount(resources[-1]) <= 2:
            resources.pop()
        else:
            time.sleep(0.01)
