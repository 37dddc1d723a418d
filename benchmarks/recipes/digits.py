"""The main job: a quarter as wide a ResNet-50 on scikit-learn's digits, on two cores."""

import dataclasses

from benchmarks.recipe import Recipe
from benchmarks.recipes.row import Row

LARS = Recipe(
    model="resnet50",
    width=0.25,  # full width takes ten seconds and more a step of 256 images
    dropout=0.0,
    virtual_batch_size=0,
    zero_gamma=False,
    data="digits",
    image_size=8,  # as they are
    pixel_scale=1 / 256,
    augmentation="none",
    label_smoothing=0.0,
    optimizer="lars",
    global_batch_size=64,
    epochs=16,
    learning_rate=4.0,
    warmup_epochs=2.0,
    warmup_power=1.0,
    start_learning_rate=0.0,
    shift_decay=True,
    decay="polynomial",
    decay_power=2.0,
    end_learning_rate=0.0,
    momentum=0.9,
    nesterov=False,
    momentum_form="classic",
    weight_decay=5e-4,
    exclude_from_weight_decay="bias_or_normalization",
    trust_coefficient=1e-3,
    exclude_from_layer_adaptation="none",
    unadapted_learning_rate_multiplier=1.0,
    epsilon=0.0,
    weight_norm_floor=0.05,
    precision="float32",
    seed=0,
)
SGD = dataclasses.replace(LARS, optimizer="sgd", learning_rate=0.02)

_SOURCE = "this project"
_NOTE = "the rate is the best of few, on the held-out images"
ROWS = [
    Row(name="digits_lars", recipe=LARS, source=_SOURCE, note=_NOTE),
    Row(name="digits_sgd", recipe=SGD, source=_SOURCE, note=_NOTE),
]
