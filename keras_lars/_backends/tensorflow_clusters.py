"""Which variables share an XLA cluster on TensorFlow. `sharing` decides, and nothing else does."""

import collections
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from keras_lars._backends.tensorflow_xla import Signature

# A cluster for each variable; for up to `_MOST` variables of one signature; or for all of a device.
Sharing: TypeAlias = Literal["none", "alike", "all"]

_MOST = 8


def sharing(on_cpu: bool) -> Sharing:
    """How variables share clusters on CPUs, and on all other devices.

    All as measured (benchmarks/results/speed/README.md, "On a GPU"). On CPUs a cluster for each
    variable: others are no faster, and their first calls take two to eleven times as long.

    Elsewhere groups. They leave 36 of the 161 launches of ResNet-50, whose update takes 10.6 ms on
    an H100, where it took 13.3. Their first call takes 14 s in place of 6.5 s, and grows with the
    shapes alone. One cluster for all takes 9.1 ms and 15 s, but its launch waits for the last
    gradient, and it is compiled anew for each network, variable by variable.
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
