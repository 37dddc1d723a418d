"""The handwritten digits that scikit-learn ships."""

import os

import sklearn.datasets
from sklearn.model_selection import train_test_split

from benchmarks.data.in_memory import Images, InMemory


def load(data_dir: str | os.PathLike | None = None) -> InMemory:
    """The 1,797 digits of 8x8 pixels; a fifth is held out.

    The split is the same for every seed, with the ten digits in equal numbers.
    """
    # Scikit-learn contains the images.
    pixels, labels = sklearn.datasets.load_digits(return_X_y=True)
    # Scikit-learn's pixels are 0 to 16. A power of two as factor causes no rounding.
    pixels = (16 * pixels).reshape(-1, 8, 8, 1).astype("uint16")
    train_pixels, held_out_pixels, train_labels, held_out_labels = train_test_split(
        pixels, labels.astype("int32"), test_size=0.2, stratify=labels, random_state=0
    )
    training = Images(train_pixels, train_labels)
    return InMemory("digits", 10, training, Images(held_out_pixels, held_out_labels))
