"""The paper's tables 1, 3, 4 and 5, a row each, and of table 6 what was published.

You, Gitman and Ginsburg: arXiv 1708.03888, and its ICLR 2018 submission (openreview rJ4uaX2aW),
whose text has most of the numbers. What neither says is taken from the authors' solvers
(github.com/borisgin/nvcaffe-0.16), or is `unverified`.
"""

import dataclasses

from benchmarks.recipe import Recipe
from benchmarks.recipes.row import Row

_ICLR = "openreview rJ4uaX2aW"
_TORCHLARS = "github kakaobrain/torchlars, README"

# Eight GPUs, 8,192 images at once at most: normalization never saw more than 1,024.
_GPUS, _AT_ONCE = 8, 8192

_ALEXNET = Recipe(
    model="alexnet",
    width=1.0,
    dropout=0.5,
    virtual_batch_size=0,
    zero_gamma=False,
    data="imagenet2012",
    image_size=227,
    pixel_scale=1.0,
    augmentation="paper",
    label_smoothing=0.0,
    optimizer="lars",
    global_batch_size=512,
    epochs=100,
    learning_rate=2.0,
    warmup_epochs=2.0,
    warmup_power=1.0,
    # The solvers ramp up from 1, and decay from the first update on.
    start_learning_rate=1.0,
    shift_decay=False,
    decay="polynomial",
    decay_power=2.0,
    end_learning_rate=0.0,
    momentum=0.9,
    nesterov=False,
    momentum_form="classic",
    weight_decay=5e-4,
    exclude_from_weight_decay="none",
    trust_coefficient=1e-3,
    exclude_from_layer_adaptation="none",
    unadapted_learning_rate_multiplier=1.0,
    epsilon=0.0,
    precision="float32",
    seed=1,
)
_NETWORKS = {
    "alexnet": _ALEXNET,
    "alexnet_bn": dataclasses.replace(_ALEXNET, model="alexnet_bn", pixel_scale=1 / 256),
    "resnet50": dataclasses.replace(
        _ALEXNET, model="resnet50", image_size=224, pixel_scale=1 / 256, dropout=0.0
    ),
}


def _recipe(network: str, global_batch_size: int, **fields) -> Recipe:
    normalized = min(global_batch_size, _AT_ONCE) // _GPUS
    return dataclasses.replace(
        _NETWORKS[network],
        global_batch_size=global_batch_size,
        **{"virtual_batch_size": 0 if network == "alexnet" else normalized, **fields},
    )


def _unverified(recipe: Recipe, *more: str) -> tuple[str, ...]:
    """The samples of a normalization are known where the solvers and logs of 8K and more are."""
    of_normalization = recipe.virtual_batch_size and recipe.global_batch_size < _AT_ONCE
    return (*(("virtual_batch_size",) if of_normalization else ()), *more)


# (network, warm-up in epochs, {batch: {learning rate: top-1}})
_TABLE_1 = [
    (
        "alexnet",
        2.5,
        {
            512: {0.02: 58.8},
            4096: {0.04: 53.0, 0.05: 53.1, 0.06: 51.6, 0.07: 0.1},
            8192: {0.02: 29.8, 0.03: 44.8, 0.04: 43.1, 0.05: 0.1},
        },
    ),
    (
        "alexnet_bn",
        0.0,
        {
            512: {0.02: 60.2},
            4096: {0.16: 58.1, 0.18: 58.9, 0.21: 58.5, 0.30: 57.1},
            8192: {0.23: 57.6, 0.30: 58.0, 0.32: 57.7, 0.41: 56.5},
        },
    ),
]


def _table_1() -> list[Row]:
    rows = []
    for network, warmup_epochs, batches in _TABLE_1:
        for batch, rates in batches.items():
            for rate, published in rates.items():
                recipe = _recipe(
                    network,
                    batch,
                    optimizer="sgd",
                    learning_rate=rate,
                    warmup_epochs=warmup_epochs,
                    start_learning_rate=0.0,
                )
                ramp = ("start_learning_rate", "shift_decay") if warmup_epochs else ()
                rows.append(
                    Row(
                        name=f"{network}_sgd_{batch}_{rate:g}",
                        recipe=recipe,
                        source=f"arXiv 1708.03888, table 1; {_ICLR}",
                        published=published,
                        unverified=_unverified(recipe, *ramp),
                        note="diverged" if published == 0.1 else "",
                    )
                )
    return rows


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


def _table_3() -> list[Row]:
    rows = []
    for network, (warmup_epochs, batches) in _TABLE_3.items():
        for batch, (rate, published) in batches.items():
            recipe = _recipe(network, batch, learning_rate=float(rate), warmup_epochs=warmup_epochs)
            rows.append(
                Row(
                    name=f"{network}_lars_{batch}",
                    recipe=recipe,
                    source=f"arXiv 1708.03888, table 3; {_ICLR}",
                    published=published,
                    unverified=_unverified(recipe),
                )
            )
    return rows


# {batch: (learning rate, warm-up in epochs, top-1 with little augmentation, with the extended one)}
_TABLE_4 = {
    256: (4, 0, 73.8, 75.8),
    1024: (9, 5, 73.3, 75.4),
    8192: (30, 5, 73.5, 75.2),
    16384: (33, 12, 72.9, 74.4),
    32768: (40, 12, 72.5, 72.5),
}
# {batch: (learning rate, top-1)}: 90 epochs, 5 of them a warm-up.
_TABLE_4_AGAIN = {8192: (12.8, 73.78), 16384: (25.0, 73.36), 32768: (29.0, 72.26)}


def _table_4() -> list[Row]:
    rows = []
    for batch, (rate, warmup_epochs, *accuracies) in _TABLE_4.items():
        for augmentation, published in zip(("paper", "extended"), accuracies):
            recipe = _recipe(
                "resnet50",
                batch,
                learning_rate=float(rate),
                warmup_epochs=float(warmup_epochs),
                augmentation=augmentation,
            )
            rows.append(
                Row(
                    name=f"resnet50_lars_{batch}" + "_extended" * (augmentation == "extended"),
                    recipe=recipe,
                    source=f"{_ICLR}, table 4",
                    published=published,
                    unverified=_unverified(recipe),
                    note="75.4 in the text" if published == 75.8 else "",
                )
            )
    small_decay = {"weight_decay": 1e-4, "epochs": 90}
    baseline = _recipe(
        "resnet50",
        256,
        optimizer="sgd",
        learning_rate=0.2,
        warmup_epochs=0.0,
        start_learning_rate=0.0,
        weight_decay=1e-4,
    )
    rows.append(
        Row(
            name="resnet50_sgd_256",
            recipe=baseline,
            source="arXiv 1708.03888, table 4",
            published=73.0,
            unverified=_unverified(baseline, "weight_decay"),
            note="the authors' log of 100 epochs ends at 74.06",
        )
    )
    for batch, (rate, published) in _TABLE_4_AGAIN.items():
        recipe = _recipe("resnet50", batch, learning_rate=rate, warmup_epochs=5.0, **small_decay)
        guessed = ("weight_decay", "augmentation", "start_learning_rate", "shift_decay")
        rows.append(
            Row(
                name=f"resnet50_torchlars_{batch}",
                recipe=recipe,
                source=_TORCHLARS,
                published=published,
                unverified=("virtual_batch_size", *guessed),
                note="the arXiv version's table 4, run again by others",
            )
        )
    return rows


# {epochs: top-1}; of 100 epochs see tables 3 and 4.
_TABLE_5 = {
    "alexnet_lars_16384": {125: 55.9, 150: 56.7, 175: 57.3, 200: 58.2},
    "alexnet_bn_lars_32768": {125: 59.2, 150: 59.5, 175: 59.5, 200: 59.9},
    "resnet50_lars_16384_extended": {125: 74.1, 150: 74.6, 175: 74.8, 200: 75.5},
}


def _table_5(rows: list[Row]) -> list[Row]:
    by_name = {row.name: row for row in rows}
    return [
        dataclasses.replace(
            by_name[name],
            name=f"{name}_epochs{epochs}",
            recipe=dataclasses.replace(by_name[name].recipe, epochs=epochs),
            source=f"{_ICLR}, table 5",
            published=published,
            unverified=(*by_name[name].unverified, "learning_rate", "warmup_epochs"),
        )
        for name, accuracies in _TABLE_5.items()
        for epochs, published in accuracies.items()
    ]


# (optimizer, batch, learning rate, epochs, warm-up in epochs, top-1)
_TABLE_6 = [
    ("sgd", 256, 0.02, 100, None, 69.2),
    ("lars", 256, 4, 100, 5, 70.3),
    ("lars", 1024, 6, 100, 10, 69.7),
    ("lars", 2048, 7, 150, 25, 71.1),
    ("lars", 4096, 10, 200, 30, 69.9),
    ("lars", 8192, 10, 250, 60, 69.0),
    ("lars", 16384, 10, 350, 110, 67.2),
]


def _table_6() -> list[Row]:
    names = ("optimizer", "global_batch_size", "learning_rate", "epochs", "warmup_epochs")
    return [
        Row(
            name=f"googlenet_{optimizer}_{batch}",
            recipe=None,
            source=f"{_ICLR}, table 6",
            published=published,
            note="published number only",
            settings={"model": "googlenet", **dict(zip(names, (optimizer, batch, *rest)))},
        )
        for optimizer, batch, *rest, published in _TABLE_6
    ]


def _all() -> list[Row]:
    rows = [*_table_1(), *_table_3(), *_table_4()]
    return [*rows, *_table_5(rows), *_table_6()]


ROWS = _all()
