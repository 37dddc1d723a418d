"""Which variables share an XLA cluster on TensorFlow. Only `sharing` decides this."""

import collections
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from keras_lars._backends.tensorflow_xla import Signature

# A cluster for each variable, for up to `_MOST` variables of one signature, or for a whole device.
Sharing: TypeAlias = Literal["none", "alike", "all"]

_MOST = 8


def sharing(on_cpu: bool) -> Sharing:
    """How variables share clusters on CPUs, and on all other devices.

    The choice rests on measurements (benchmarks/results/speed/gpu.md). On CPUs each variable has
    its own cluster: shared ones are no faster, and their first calls take two to eleven times as
    long.

    Elsewhere variables of one signature share clusters. On an H100 this reduces the launches of
    ResNet-50 from 161 to 36, and its update from 13.3 ms to 10.6 ms. The first call takes 14 s
    instead of 6.5 s, a time that depends only on the number of different shapes. One cluster for
    all variables takes 9.1 ms and 15 s, but its launch waits for the last gradient, and it is
    compiled again for each network.
    """
    return "none" if on_cpu else "alike"


def clusters(signatures: Sequence["Signature"], devices: Sequence[str]) -> Iterator[list[int]]:
    """The positions of the variables of each cluster. XLA compiles for one device at a time."""
    together: dict[tuple[str, Hashable], list[int]] = collections.defaultdict(list)
    for i, (signature, device) in enumerate(zip(signatures, devices)):
        key = {"none": i, "alike": signature, "all": None}[sharing(signature.on_cpu)]
        together[device, key].append(i)
    for (_, key), positions in together.items():
        most = len(positions) if key is None else _MOST
        yield from (positions[start : start + most] for start in range(0, len(positions), most))
