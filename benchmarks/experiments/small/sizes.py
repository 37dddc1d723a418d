"""Sizes of the experiment: networks, batch sizes, methods, and numbers of trials and seeds."""

import dataclasses

from benchmarks.experiments.small import methods
from benchmarks.experiments.small.methods import Method


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
    methods: tuple[str, ...] = tuple(method.name for method in methods.METHODS)
    data: str = "fashion_mnist"  # a name in `images.DATA`
    trial_seeds: int = 1  # seeds to try each setting with


def _of(compared: tuple[Method, ...], size: Size) -> Size:
    return dataclasses.replace(size, methods=tuple(method.name for method in compared))


_THREE, _QUARTER = ("plain", "residual", "vit"), ("resnet50_quarter",)
_SMALL = Size(("plain", "residual"), (128, 512, 2048, 8192, 32768), epochs=10, trials=4, seeds=3)
_SECOND = _of(methods.SECOND_ROUND, dataclasses.replace(_SMALL, networks=_THREE, trials=8, seeds=4))
# How many epochs large batches need for the accuracy of small ones.
_LONGER = dataclasses.replace(
    _SECOND,
    batches=(8192, 32768),
    seeds=3,
    methods=("nesterov_wide", "lars_nesterov", "lamb_wide"),
)
_CIFAR10 = dataclasses.replace(
    _SECOND,
    networks=("plain", "residual"),
    batches=(512, 8192, 32768),
    trials=4,
    seeds=3,
    image_size=16,
    methods=("momentum_wide", "nesterov_wide", "lars_wide", "lars_nesterov", "lamb_wide"),
    data="cifar10",
)
_DIGITS = Size(_QUARTER, (64, 512), epochs=16, trials=0, seeds=3, image_size=8, data="digits")
_GAMMA = ("residual_zero_gamma",)
_ZERO, _CONSTANT = methods.ZERO_WEIGHTS, methods.CONSTANT_RATES
SIZES = {
    "quick": Size(("plain",), (128, 2048, 32768), epochs=5, trials=2, seeds=1),
    "small": _SMALL,
    # The same trainings at more learning rates, without a choice among them.
    "rates": _of(methods.RATES, dataclasses.replace(_SMALL, trials=8, seeds=0)),
    "second_round": _SECOND,
    "second_round_rates": dataclasses.replace(
        _SECOND, seeds=0, methods=("lars_nesterov",), trial_seeds=2
    ),
    "twice_as_long": dataclasses.replace(_LONGER, epochs=20),
    "four_times_as_long": dataclasses.replace(_LONGER, epochs=40),
    # A second data set, with half of the second round's trials.
    "cifar10": _CIFAR10,
    "cifar10_lower_rates": _of(
        methods.LOWER_RATES,
        dataclasses.replace(_CIFAR10, networks=("plain",), batches=(8192, 32768)),
    ),
    "cifar10_higher_rates": _of(
        methods.HIGHER_RATES, dataclasses.replace(_CIFAR10, networks=("residual",), batches=(512,))
    ),
    # The network of the main job, by batch size.
    "digits": dataclasses.replace(
        _DIGITS,
        batches=(64, 256, 512),
        trials=4,
        methods=("momentum_wide", "nesterov_wide", "lars_wide", "lars_nesterov"),
    ),
    "zero_weights": _of(_ZERO, Size(_THREE, (512, 4096, 8192), epochs=8, trials=0, seeds=3)),
    "zero_weights_gamma": _of(_ZERO, Size(_GAMMA, (4096,), epochs=8, trials=0, seeds=3)),
    # 4x4 pixels and 3 epochs, because it is by far the slowest.
    "zero_weights_resnet50": _of(
        _ZERO, Size(_QUARTER, (4096, 8192), epochs=3, trials=0, seeds=3, image_size=4)
    ),
    "zero_weights_digits": _of(_ZERO, _DIGITS),
    "constant_rates": _of(_CONSTANT, Size(_THREE, (128, 1024, 8192), epochs=8, trials=0, seeds=1)),
    "constant_rates_digits": _of(_CONSTANT, dataclasses.replace(_DIGITS, seeds=1)),
    # For a GPU with 80 GB.
    "resnet50": Size(
        networks=("resnet50",),
        batches=(256, 1024, 4096, 32768),
        epochs=30,
        trials=8,
        seeds=3,
        image_size=28,
        micro_batch_size=1024,
    ),
}
