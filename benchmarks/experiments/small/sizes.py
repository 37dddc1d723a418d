"""Sizes of the experiment: networks, batch sizes, methods, and numbers of trials and seeds."""

import dataclasses
import pathlib

from benchmarks import files

FIRST_ROUND = ("momentum", "momentum_scaled", "nesterov", "lars", "lars_scaled", "lamb")


@dataclasses.dataclass(frozen=True)
class Size:
    """The size of an experiment."""

    networks: tuple[str, ...]  # names in `networks.NETWORKS`
    batches: tuple[int, ...]
    epochs: int
    trials: int  # settings to try for each tuned method at each batch size
    seeds: int  # new seeds to train the chosen setting with; 0 if none is chosen
    image_size: int = 14  # it must divide Fashion-MNIST's 28, CIFAR-10's 32, or the digits' 8
    # Larger batches are accumulated from micro-batches of this size, to save memory. An update may
    # then extend into the next epoch. None for whole batches.
    micro_batch_size: int | None = None
    methods: tuple[str, ...] = FIRST_ROUND  # names in `methods.BY_NAME`
    data: str = "fashion_mnist"  # a name in `images.DATA`
    trial_seeds: int = 1  # seeds to try each setting with


_FILE = pathlib.Path(__file__).with_name("sizes.csv")
SIZES = {line.pop("name"): Size(**line) for line in files.csv_lines(_FILE, Size)}
