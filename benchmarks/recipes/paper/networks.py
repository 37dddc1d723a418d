"""What all rows of a network have in common."""

import dataclasses
from typing import Any

from benchmarks.recipe import Recipe

ICLR = "openreview rJ4uaX2aW"
SOLVER = "the authors' solver"

# The authors had eight GPUs, and made more than 8,192 images out of several passes: normalization
# never saw more than 1,024. Source: the prototxt files and logs of AlexNet-BN.
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
    weight_norm_floor=0.0,
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


def recipe_of(network: str, global_batch_size: int, **fields: Any) -> Recipe:
    """A recipe of a network: LARS as in table 3, unless `fields` say otherwise."""
    if network != "alexnet":  # which normalizes no batches
        fields["virtual_batch_size"] = min(global_batch_size, _AT_ONCE) // _GPUS
    return dataclasses.replace(_NETWORKS[network], global_batch_size=global_batch_size, **fields)


def unverified(recipe: Recipe, *more: str) -> tuple[str, ...]:
    """The fields that nobody tells, with the samples of a normalization where they are guessed."""
    seen = recipe.model == "alexnet_bn" and recipe.global_batch_size >= _AT_ONCE
    guessed = recipe.virtual_batch_size and not seen
    return (*(("virtual_batch_size",) if guessed else ()), *more)
