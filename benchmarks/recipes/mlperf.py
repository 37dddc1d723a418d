"""MLPerf's reference convergence points of ResNet-50 with LARS, from 1,632 to 67,840 images.

github.com/mlcommons/logging, rcp_checker/training_{1.0,1.1,2.0,4.0}.0/rcps_resnet.json. The target
is 75.9 % top-1; the points are how many epochs it took. Epsilon 0, the power 2 and the end of the
learning rate are fixed by the rules (github.com/mlcommons/training_policies).
"""

from typing import Any

from benchmarks.recipe import Recipe
from benchmarks.recipes.row import Row, joined

TARGET = 75.9

# In what they all differ from the defaults.
RESNET: dict[str, Any] = {
    "model": "resnet50_v1_5",
    "augmentation": "extended",
    "label_smoothing": 0.1,
    "exclude_from_weight_decay": "bias_or_normalization",
    "exclude_from_layer_adaptation": "bias_or_normalization",
}
_GOOGLE, _NVIDIA = "Google", "NVIDIA"
# Google's is the reference; NVIDIA's in MXNet corrects the momentum for a rate that changes, which
# comes to the rate outside the buffer.
_FORM = {_GOOGLE: "classic", _NVIDIA: "learning_rate_outside"}
# What the files do not say.
_UNVERIFIED = {
    _GOOGLE: ("zero_gamma", "augmentation"),
    _NVIDIA: ("zero_gamma", "augmentation", "momentum_form"),
}

# (batch, whose, samples of a normalization, learning rate, warm-up in epochs, weight decay,
# momentum, epochs of the schedule, epochs to the target in the mean)
_POINTS = [
    (1632, _NVIDIA, 204, 7.4, 2, 5e-5, 0.9, 35, 35.0),
    (2048, _GOOGLE, 64, 8.5, 5, 2e-4, 0.9, 41, 38.4),
    (3264, _NVIDIA, 204, 10.5, 2, 5e-5, 0.9, 37, 35.2),
    (4096, _GOOGLE, 64, 10.0, 5, 2e-4, 0.9, 42, 40.0),
    (8192, _GOOGLE, 64, 17.0, 5, 2e-4, 0.9, 44, 42.0),
    (13056, _NVIDIA, 204, 12.8, 9, 2.5e-5, 0.9, 48, 45.4),
    (32768, _GOOGLE, 128, 21.2, 16, 2.5e-5, 0.94, 58, 56.0),
    (49152, _NVIDIA, 256, 19.405, 24, 1e-4, 0.951807, 71, 68.0),
    (58880, _NVIDIA, 230, 23.246, 29, 1e-4, 0.951807, 82, 79.9),
    (65536, _GOOGLE, 128, 24.699, 31, 1e-4, 0.951807, 89, 84.5),
    (67840, _NVIDIA, 424, 24.699, 31, 1e-4, 0.951807, 86, 85.9),
]
_NOTES = {
    2048: "file: weight decay 0.002, logs: 0.0002",
    13056: "momentum 0.94 in the file of 1.0",
}

ROWS = [
    Row(
        name=f"mlperf_{batch}",
        recipe=Recipe(
            **RESNET,
            zero_gamma=True,
            global_batch_size=batch,
            virtual_batch_size=normalized,
            epochs=epochs,
            learning_rate=rate,
            warmup_epochs=float(warmup_epochs),
            end_learning_rate=1e-4,
            weight_decay=weight_decay,
            momentum=momentum,
            momentum_form=_FORM[by],
        ),
        source="github mlcommons/logging, rcps_resnet.json",
        published=TARGET,
        # The schedule of the largest batch was not seen.
        unverified=_UNVERIFIED[by] + (("epochs",) if batch == 67840 else ()),
        note=joined(f"a target; {by} took {to_target:g} epochs", _NOTES.get(batch, "")),
    )
    for batch, by, normalized, rate, warmup_epochs, weight_decay, momentum, epochs, to_target in (
        _POINTS
    )
]
