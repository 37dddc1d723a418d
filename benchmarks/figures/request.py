"""`Request`: what a command line asks of a figure, with None for "as the preset has it"."""

import dataclasses

# Those on which the paper's rows are trained as they are; on others they are put in small.
FULL_SIZE = ("imagenet2012", "image_folder", "synthetic")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of a figure.

    Attributes:
        data: Name of the data set.
        model: Name of the network.
        study: Which of several, of a figure that has some.
        seeds: One training each, of every point.
        epochs: Of every point; the warm-up keeps its share.
        width: Of the network.
        image_size: In pixels.
        batches: Global batch sizes, as they are trained.
        learning_rates: Peak learning rates, of a figure that has them on an axis.
        layers: Regular expression, searched in names of variables.
    """

    data: str
    model: str
    study: str = ""
    seeds: tuple[int, ...] | None = None
    epochs: int | None = None
    width: float | None = None
    image_size: int | None = None
    batches: tuple[int, ...] | None = None
    learning_rates: tuple[float, ...] | None = None
    layers: str | None = None

    @property
    def size(self) -> str:
        """Of the presets: "paper" or "small"."""
        return "paper" if self.data in FULL_SIZE else "small"
