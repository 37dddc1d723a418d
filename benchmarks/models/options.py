"""The options that all networks share."""

import dataclasses

# Up to this size, the usual stem would leave too few pixels for the last layers.
SMALL_IMAGE = 64


@dataclasses.dataclass(frozen=True)
class Options:
    """The options that all networks share.

    Attributes:
        image_shape: Height, width and channels.
        classes: Number of logits.
        width: Factor for the filters of every convolution and the units of hidden dense layers.
        dropout: Dropout rate. The network determines where it applies.
        virtual_batch_size: Samples that batch normalization normalizes over; 0 is the whole batch.
        zero_gamma: Whether the last normalization of each residual block starts with a gamma of 0.
        small_stem: Whether to begin with a 3x3 convolution that keeps the size. By default true for
            images of up to 64 pixels.
    """

    image_shape: tuple[int, int, int]
    classes: int
    width: float = 1.0
    dropout: float = 0.0
    virtual_batch_size: int = 0
    zero_gamma: bool = False
    small_stem: bool | None = None

    @property
    def has_small_stem(self) -> bool:
        if self.small_stem is not None:
            return self.small_stem
        return min(self.image_shape[:2]) <= SMALL_IMAGE
