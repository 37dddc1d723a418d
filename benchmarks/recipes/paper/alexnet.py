"""Tables 1 and 3: AlexNet with and without batch normalization, with SGD and with LARS."""

from benchmarks.recipes.paper.networks import ICLR, SOLVER, recipe_of, unverified
from benchmarks.recipes.row import Row, joined

# {network: (warm-up in epochs, {batch: {learning rate: top-1}})}
_TABLE_1 = {
    "alexnet": (
        2.5,
        {
            512: {0.02: 58.8},
            4096: {0.04: 53.0, 0.05: 53.1, 0.06: 51.6, 0.07: 0.1},
            8192: {0.02: 29.8, 0.03: 44.8, 0.04: 43.1, 0.05: 0.1},
        },
    ),
    "alexnet_bn": (
        0.0,
        {
            512: {0.02: 60.2},
            4096: {0.16: 58.1, 0.18: 58.9, 0.21: 58.5, 0.30: 57.1},
            8192: {0.23: 57.6, 0.30: 58.0, 0.32: 57.7, 0.41: 56.5},
        },
    ),
}
_NOTES_1 = {
    ("alexnet", 512): "57.6 in the introduction",
    ("alexnet_bn", 512): f"{SOLVER} has a rate of 0.08",
}


def _table_1(network: str, batch: int, rate: float, warmup_epochs: float, published: float) -> Row:
    recipe = recipe_of(
        network,
        batch,
        optimizer="sgd",
        learning_rate=rate,
        warmup_epochs=warmup_epochs,
        start_learning_rate=0.0,
    )
    ramp = ("start_learning_rate", "shift_decay") if warmup_epochs else ()
    return Row(
        name=f"{network}_sgd_{batch}_{rate:g}",
        recipe=recipe,
        source=f"arXiv 1708.03888, table 1; {ICLR}",
        published=published,
        unverified=unverified(recipe, *ramp),
        note=joined(
            "diverged" if published == 0.1 else "",
            "128 epochs in the text, 100 in the caption" if network == "alexnet_bn" else "",
            _NOTES_1.get((network, batch), ""),
        ),
    )


# {network: (warm-up in epochs, {batch: (learning rate, top-1)})}
_TABLE_3 = {
    "alexnet": (
        2.0,
        {512: (2, 58.7), 4096: (10, 58.5), 8192: (10, 58.2), 16384: (14, 55.0), 32768: (14, 46.9)},
    ),
    "alexnet_bn": (
        5.0,
        {512: (2, 60.2), 4096: (10, 60.4), 8192: (14, 60.1), 16384: (23, 59.3), 32768: (22, 57.8)},
    ),
}
_NOTES_3 = {
    ("alexnet", 8192): f"{SOLVER}: rate 10, warm-up 600 updates",
    ("alexnet", 16384): f"{SOLVER}: rate 16, warm-up 400 updates",
    ("alexnet_bn", 8192): f"{SOLVER}: rate 10, warm-up 600 updates",
    ("alexnet_bn", 16384): f"{SOLVER}: rate 24, warm-up 400 updates",
    ("alexnet_bn", 32768): f"{SOLVER}: rate 32, warm-up 400 updates; 2.6 less than at 512 in the "
    "text, 2.4 in the table",
}


def _table_3(network: str, batch: int, rate: float, warmup_epochs: float, published: float) -> Row:
    recipe = recipe_of(network, batch, learning_rate=float(rate), warmup_epochs=warmup_epochs)
    return Row(
        name=f"{network}_lars_{batch}",
        recipe=recipe,
        source=f"arXiv 1708.03888, table 3; {ICLR}",
        published=published,
        unverified=unverified(recipe),
        note=_NOTES_3.get((network, batch), ""),
    )


ROWS = [
    *(
        _table_1(network, batch, rate, warmup_epochs, published)
        for network, (warmup_epochs, batches) in _TABLE_1.items()
        for batch, rates in batches.items()
        for rate, published in rates.items()
    ),
    *(
        _table_3(network, batch, rate, warmup_epochs, published)
        for network, (warmup_epochs, batches) in _TABLE_3.items()
        for batch, (rate, published) in batches.items()
    ),
]
