"""Writes files together: either all are replaced, or none."""

import contextlib
import os
import pathlib
from collections.abc import Mapping

from keras_lars._files import synchronize


def write(folder: pathlib.Path, contents: Mapping[str, bytes]) -> None:
    """Create the folder and its files. If one cannot be written, existing files are unchanged."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = {name: folder / f"{name}.temporary" for name in contents}
    try:
        for name, content in contents.items():
            temporary[name].write_bytes(content)
            synchronize(temporary[name])
        for name, path in temporary.items():
            os.replace(path, folder / name)
    finally:
        for path in temporary.values():
            with contextlib.suppress(OSError):
                path.unlink()
