"""TensorFlow, which is imported when something of it is first used.

That takes seconds, after which nobody wants to hear of a wrong flag or of missing data.
"""

import importlib
from typing import TYPE_CHECKING, Any


class _Lazy:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = _Lazy("tensorflow")

__all__ = ["tf"]
