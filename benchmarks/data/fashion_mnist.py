"""Fashion-MNIST, from local files: those of TensorFlow Datasets, or the authors' four files."""

import gzip
import hashlib
import os
import pathlib

import numpy as np

from benchmarks.data import prepared
from benchmarks.data.in_memory import Images, InMemory
from benchmarks.recipe import RecipeError

# Where Debian's package `dataset-fashion-mnist` puts the files.
DEBIAN = pathlib.Path("/usr/share/datasets/fashion-mnist")
# Checksums of the uncompressed files, because Debian's .gz files are compressed differently.
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
TFDS_VERSION = "fashion_mnist/3.0.1"


def load(data_dir: str | os.PathLike | None = None) -> InMemory:
    """The 60,000 training images and 10,000 held-out images of 28x28 pixels.

    The folder, by default Debian's, holds `fashion_mnist/3.0.1` as TensorFlow Datasets prepares it,
    or the four IDX files, compressed by gzip or not. Raises RecipeError if the files are missing,
    or differ from the authors' files.
    """
    folder = pathlib.Path(data_dir or DEBIAN)
    if (folder / TFDS_VERSION / "dataset_info.json").exists():
        parts = [prepared.images(folder / TFDS_VERSION, split) for split in ("train", "test")]
    else:
        parts = [_idx_files(folder, split) for split in ("train", "t10k")]
    return InMemory("fashion_mnist", 10, *parts)


def _idx_files(folder: pathlib.Path, part: str) -> Images:
    """The bytes after the headers. The checksums of the files say what the headers hold."""
    pixels = np.frombuffer(_content(folder, f"{part}-images-idx3-ubyte"), np.uint8, offset=16)
    labels = np.frombuffer(_content(folder, f"{part}-labels-idx1-ubyte"), np.uint8, offset=8)
    return Images(pixels.reshape(-1, 28, 28, 1), labels.astype("int32"))


def _content(folder: pathlib.Path, name: str) -> bytes:
    plain, compressed = folder / name, folder / f"{name}.gz"
    try:
        content = plain.read_bytes() if plain.exists() else gzip.decompress(compressed.read_bytes())
    except FileNotFoundError as error:
        raise RecipeError(
            "Fashion-MNIST must be installed (on Debian and Ubuntu, apt install "
            f"dataset-fashion-mnist), or --data_dir must hold {TFDS_VERSION}, prepared by "
            f"TensorFlow Datasets, or its four IDX files. Received: no {compressed}"
        ) from error
    except (OSError, EOFError) as error:
        raise RecipeError(f"{compressed} must be readable. Received: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise RecipeError(
            f"{name} in {folder} must have the SHA-256 {SHA256[name]}, uncompressed. "
            f"Received: {found}"
        )
    return content
