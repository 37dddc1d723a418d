"""Decodes JPEG and PNG files. Of a JPEG, only the part that is shown is decoded.

The format of a file follows from its first bytes, not from its name: ImageNet has a PNG whose name
ends in .JPEG. Some of its JPEGs are CMYK.
"""

import pathlib

from benchmarks.lazy import tf

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def fault_of_header(path: pathlib.Path) -> str | None:
    """What is wrong with the first bytes of a file; None if it looks like a JPEG or a PNG."""
    try:
        with path.open("rb") as file:
            header = file.read(len(_PNG))
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})"
    if header.startswith((_JPEG, _PNG)):
        return None
    return f"a file that begins with {header!r}" if header else "an empty file"


def fault(path: pathlib.Path) -> str | None:
    """What is wrong with a file; None if it can be decoded."""
    if what := fault_of_header(path):
        return what
    try:
        with tf.device("CPU:0"):
            tf.io.decode_image(path.read_bytes(), channels=3)
    except tf.errors.InvalidArgumentError:
        return "a damaged file"
    return None


def height_and_width(string: "tf.Tensor") -> "tf.Tensor":
    """Height and width of an encoded image, from its header."""

    def of_png() -> "tf.Tensor":
        # Big-endian, after the signature and the length and name of the first chunk.
        numbers = tf.io.decode_raw(tf.strings.substr(string, 16, 8), tf.int32, little_endian=False)
        return tf.ensure_shape(numbers, [2])[::-1]

    return tf.cond(tf.io.is_jpeg(string), lambda: tf.image.extract_jpeg_shape(string)[:2], of_png)


def decode(string: "tf.Tensor", window: "tf.Tensor", image_size: int) -> "tf.Tensor":
    """Decodes and scales a part of an image: float32, 0 to 255, (image_size, image_size, 3).

    Scaling is bilinear without smoothing, as in Caffe. Gray images get three equal channels, and
    transparency is dropped. The window is y, x, height and width in pixels.
    """

    def part_of_png() -> "tf.Tensor":
        y, x, height, width = tf.unstack(window)
        return tf.io.decode_png(string, channels=3)[y : y + height, x : x + width]

    pixels = tf.cond(
        tf.io.is_jpeg(string),
        lambda: tf.image.decode_and_crop_jpeg(string, window, channels=3),
        part_of_png,
    )
    return tf.image.resize(pixels, (image_size, image_size))
