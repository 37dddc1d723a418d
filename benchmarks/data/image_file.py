"""JPEG and PNG files to images: only the part of a JPEG that is shown is decoded.

What a file is, its first bytes say, and not its name: ImageNet has a PNG whose name ends in .JPEG,
and JPEGs in the colours of print.
"""

import pathlib

from benchmarks.lazy import tf

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def fault_of_header(path: pathlib.Path) -> str | None:
    """What a file is, if it is neither a JPEG nor a PNG; None if it is one of them."""
    try:
        with path.open("rb") as file:
            header = file.read(len(_PNG))
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})"
    if header.startswith((_JPEG, _PNG)):
        return None
    return f"a file that begins with {header!r}" if header else "an empty file"


def fault(path: pathlib.Path) -> str | None:
    """What is wrong with a file, all of it; None if it can be decoded."""
    if what := fault_of_header(path):
        return what
    try:
        with tf.device("CPU:0"):
            tf.io.decode_image(path.read_bytes(), channels=3)
    except tf.errors.InvalidArgumentError:
        return "a damaged file"
    return None


def height_and_width(string: "tf.Tensor") -> "tf.Tensor":
    """Of a file, a string; nothing but its header is decoded."""

    def of_png() -> "tf.Tensor":
        # Big-endian, behind the signature and the length and the name of the first chunk.
        numbers = tf.io.decode_raw(tf.strings.substr(string, 16, 8), tf.int32, little_endian=False)
        return tf.ensure_shape(numbers, [2])[::-1]

    return tf.cond(tf.io.is_jpeg(string), lambda: tf.image.extract_jpeg_shape(string)[:2], of_png)


def decode(string: "tf.Tensor", window: "tf.Tensor", image_size: int) -> "tf.Tensor":
    """A part of an image, scaled: float32, 0 to 255, of shape (image_size, image_size, 3).

    Grey becomes red, green and blue alike, and transparency is dropped.

    Args:
        string: The file.
        window: y, x, height and width of the part, in pixels.
        image_size: What both sides are scaled to, bilinear and without smoothing, as Caffe does.
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
