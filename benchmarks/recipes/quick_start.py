"""The quick start: a quarter-width ResNet-50 on scikit-learn's digits, for two cores."""

import dataclasses

from benchmarks.recipe import Recipe
from benchmarks.recipes.rows import Row

LARS = Recipe(
    model="resnet50",
    width=0.25,  # at full width, a step of 256 images takes more than ten seconds
    data="digits",
    image_size=8,  # the size of the digits
    augmentation="none",
    global_batch_size=64,
    epochs=16,
    learning_rate=4.0,
    warmup_epochs=2.0,
    exclude_from_weight_decay="bias_or_normalization",
    weight_norm_floor=0.05,
    seed=0,
)
SGD = dataclasses.replace(LARS, optimizer="sgd", learning_rate=0.02)

ROWS = [
    Row(
        name=f"digits_{recipe.optimizer}",
        recipe=recipe,
        source="this project",
        note="the learning rate is the best of a few, chosen on the held-out images",
    )
    for recipe in (LARS, SGD)
]
