"""The options of the networks."""

import dataclasses

# Up to this size, the usual stem would leave too few pixels for the last layers.
SMALL_IMAGE = 64


@dataclasses.dataclass(frozen=True)
class Options:
    """The options that all networks share."""

    image_shape: tuple[int, int, int]  # height, width and channels
    classes: int
    width: float = 1.0  # factor for the filters of convolutions and the units of hidden layers
    dropout: float = 0.0  # the network determines where it applies
    virtual_batch_size: int = 0  # samples that are normalized together; 0 is the whole batch
    zero_gamma: bool = False  # the last normalization of each residual block starts with gamma 0
    small_stem: bool | None = None  # a 3x3 convolution that keeps the size; None: for small images

    @property
    def has_small_stem(self) -> bool:
        is_small = min(self.image_shape[:2]) <= SMALL_IMAGE
        return is_small if self.small_stem is None else self.small_stem
