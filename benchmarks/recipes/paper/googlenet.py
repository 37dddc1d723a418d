"""Table 6: GoogLeNet, which is not here."""

from types import MappingProxyType

from benchmarks.recipes.paper.networks import ICLR
from benchmarks.recipes.row import Row

_NAMES = ("optimizer", "global_batch_size", "learning_rate", "epochs", "warmup_epochs")
# As `_NAMES`, and top-1.
_TABLE_6 = [
    ("sgd", 256, 0.02, 100, None, 69.2),
    ("lars", 256, 4.0, 100, 5.0, 70.3),
    ("lars", 1024, 6.0, 100, 10.0, 69.7),
    ("lars", 2048, 7.0, 150, 25.0, 71.1),
    ("lars", 4096, 10.0, 200, 30.0, 69.9),
    ("lars", 8192, 10.0, 250, 60.0, 69.0),
    ("lars", 16384, 10.0, 350, 110.0, 67.2),
]

ROWS = [
    Row(
        name=f"googlenet_{optimizer}_{batch}",
        recipe=None,
        source=f"{ICLR}, table 6",
        published=published,
        note="a published number; the network is not here",
        settings=MappingProxyType(
            {"model": "googlenet", **dict(zip(_NAMES, (optimizer, batch, *rest)))}
        ),
    )
    for optimizer, batch, *rest, published in _TABLE_6
]
