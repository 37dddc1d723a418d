"""Table 4: ResNet-50, as the ICLR version has it, and as others ran the arXiv version's again."""

from benchmarks.recipes.paper.networks import ICLR, recipe_of, unverified
from benchmarks.recipes.row import Row, joined

# {batch: (learning rate, warm-up in epochs, top-1 with little augmentation, with the extended one)}
_ICLR = {
    256: (4, 0, 73.8, 75.8),
    1024: (9, 5, 73.3, 75.4),
    8192: (30, 5, 73.5, 75.2),
    16384: (33, 12, 72.9, 74.4),
    32768: (40, 12, 72.5, 72.5),
}


def _iclr(batch: int, rate: float, warmup_epochs: float, augmentation: str, top_1: float) -> Row:
    recipe = recipe_of(
        "resnet50",
        batch,
        learning_rate=float(rate),
        warmup_epochs=float(warmup_epochs),
        start_learning_rate=1.0 if warmup_epochs else 0.0,
        augmentation=augmentation,
    )
    ramp = ("start_learning_rate", "shift_decay") if warmup_epochs else ()
    return Row(
        name=f"resnet50_lars_{batch}" + "_extended" * (augmentation == "extended"),
        recipe=recipe,
        source=f"{ICLR}, table 4",
        published=top_1,
        unverified=unverified(recipe, *ramp),
        note=joined(
            "extended augmentation" if augmentation == "extended" else "",
            "75.4 in the text" if top_1 == 75.8 else "",
        ),
    )


# The authors' solvers of ResNet-50 had this decay until October 2017, a month after the arXiv
# version, and five times as much from then on, as in the ICLR version.
_OLD_DECAY = 1e-4


def _baseline() -> Row:
    recipe = recipe_of(
        "resnet50",
        256,
        optimizer="sgd",
        learning_rate=0.2,
        warmup_epochs=0.0,
        start_learning_rate=0.0,
        weight_decay=_OLD_DECAY,
    )
    return Row(
        name="resnet50_sgd_256",
        recipe=recipe,
        source="arXiv 1708.03888, table 4",
        published=73.0,
        unverified=unverified(recipe, "weight_decay"),
        note="the authors' log of 100 epochs ends at 74.06",
    )


# {batch: (learning rate, top-1)}: 90 epochs, 5 of them a warm-up.
_AGAIN = {8192: (12.8, 73.78), 16384: (25.0, 73.36), 32768: (29.0, 72.26)}


def _again(batch: int, rate: float, published: float) -> Row:
    recipe = recipe_of(
        "resnet50",
        batch,
        learning_rate=rate,
        warmup_epochs=5.0,
        epochs=90,
        weight_decay=_OLD_DECAY,
        # Of a wrapper round PyTorch's SGD.
        momentum_form="learning_rate_outside",
        epsilon=1e-8,
    )
    guessed = (
        "model",
        "augmentation",
        "start_learning_rate",
        "shift_decay",
        "momentum",
        "weight_decay",
    )
    return Row(
        name=f"resnet50_torchlars_{batch}",
        recipe=recipe,
        source="github kakaobrain/torchlars, README",
        published=published,
        unverified=unverified(recipe, *guessed),
        note="arXiv table 4 run again by others, at rates of the authors' logs; best epoch",
    )


ROWS = [
    *(
        _iclr(batch, rate, warmup_epochs, augmentation, published)
        for batch, (rate, warmup_epochs, *accuracies) in _ICLR.items()
        for augmentation, published in zip(("paper", "extended"), accuracies)
    ),
    _baseline(),
    *(_again(batch, *row) for batch, row in _AGAIN.items()),
]
