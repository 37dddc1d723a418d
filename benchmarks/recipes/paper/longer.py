"""Table 5: the same for more epochs. Those of 100 epochs are in tables 3 and 4."""

import dataclasses

from benchmarks.recipes.paper import alexnet, resnet
from benchmarks.recipes.paper.networks import ICLR
from benchmarks.recipes.row import Row

# {row of 100 epochs: {epochs: top-1}}
_TABLE_5 = {
    "alexnet_lars_16384": {125: 55.9, 150: 56.7, 175: 57.3, 200: 58.2},
    "alexnet_bn_lars_32768": {125: 59.2, 150: 59.5, 175: 59.5, 200: 59.9},
    "resnet50_lars_16384_extended": {125: 74.1, 150: 74.6, 175: 74.8, 200: 75.5},
}


def _longer(row: Row, epochs: int, published: float) -> Row:
    guessed = ("learning_rate", "warmup_epochs")
    return dataclasses.replace(
        row,
        name=f"{row.name}_epochs{epochs}",
        recipe=dataclasses.replace(row.recipe, epochs=epochs),
        source=f"{ICLR}, table 5",
        published=published,
        unverified=(*row.unverified, *guessed),
        note="",
    )


_BY_NAME = {row.name: row for row in (*alexnet.ROWS, *resnet.ROWS)}
ROWS = [
    _longer(_BY_NAME[name], epochs, published)
    for name, accuracies in _TABLE_5.items()
    for epochs, published in accuracies.items()
]
