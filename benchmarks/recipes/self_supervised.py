"""How LARS is set in self-supervised learning: the optimizer's settings, for your own training.

Network, loss and views of those methods are not here. `settings("simclr")["lars"]` are arguments of
`keras_lars.LARS`, except for the learning rate and exclusions, which stand here by name.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from benchmarks.recipe import RecipeError
from benchmarks.recipes.row import Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Method:
    source: str
    global_batch_size: int
    learning_rate: float  # at the peak, at that batch size
    learning_rate_rule: str
    warmup_epochs: float | None
    decay: str
    exclusions: str
    unverified: tuple[str, ...] = ()
    note: str = ""
    lars: Mapping[str, Any]


# Those in PyTorch divide by the norm of gradient and decay together, and keep the rate outside.
_PYTORCH = {"momentum_form": "learning_rate_outside", "decay_in_norm": True}

_METHODS = {
    "simclr": _Method(
        source="github google-research/simclr, lars_optimizer.py, run.py",
        global_batch_size=4096,
        learning_rate=4.8,
        learning_rate_rule="0.3 * batch / 256",
        warmup_epochs=10,
        decay="cosine to 0",
        exclusions="bias_or_normalization",
        note="the command in its README has a decay of 1e-4",
        lars={"momentum": 0.9, "weight_decay": 1e-6, "decay_in_norm": True},
    ),
    "simclr_sqrt": _Method(
        source="github google-research/simclr, lars_optimizer.py, run.py",
        global_batch_size=4096,
        learning_rate=4.8,
        learning_rate_rule="0.075 * sqrt(batch)",
        warmup_epochs=10,
        decay="cosine to 0",
        exclusions="bias_or_normalization",
        note="the same rate at 4,096, another one at any other batch",
        lars={"momentum": 0.9, "weight_decay": 1e-6, "decay_in_norm": True},
    ),
    "simclr_finetune": _Method(
        source="github google-research/simclr, README",
        global_batch_size=1024,
        learning_rate=0.16,
        learning_rate_rule="0.005 * sqrt(batch)",
        warmup_epochs=0,
        decay="cosine to 0",
        exclusions="bias_or_normalization",
        unverified=("decay",),
        lars={"momentum": 0.9, "weight_decay": 0.0, "decay_in_norm": True},
    ),
    "byol": _Method(
        source="github deepmind/deepmind-research, byol/configs/byol.py, utils/optimizers.py",
        global_batch_size=4096,
        learning_rate=3.2,
        learning_rate_rule="0.2 * batch / 256 (1,000 epochs; 0.45, 0.45, 0.3 for 40, 100, 300)",
        warmup_epochs=10,
        decay="cosine to 0",
        exclusions="bias_or_normalization",
        unverified=("global_batch_size", "decay"),
        lars={"momentum": 0.9, "weight_decay": 1.5e-6, **_PYTORCH},
    ),
    "barlow_twins": _Method(
        source="github facebookresearch/barlowtwins, main.py",
        global_batch_size=2048,
        learning_rate=1.6,
        learning_rate_rule="0.2 * batch / 256; of biases and normalization 0.0048 * batch / 256",
        warmup_epochs=10,
        decay="cosine to 0.001 of it",
        exclusions="rank_1",
        lars={
            "momentum": 0.9,
            "weight_decay": 1e-6,
            "unadapted_learning_rate_multiplier": 0.0048 / 0.2,
            **_PYTORCH,
        },
    ),
    "vicreg": _Method(
        source="github facebookresearch/vicreg, main_vicreg.py",
        global_batch_size=2048,
        learning_rate=1.6,
        learning_rate_rule="0.2 * batch / 256",
        warmup_epochs=10,
        decay="cosine to 0.001 of it",
        exclusions="rank_1",
        unverified=("learning_rate",),
        note="read in a copy that others had changed",
        lars={"momentum": 0.9, "weight_decay": 1e-6, **_PYTORCH},
    ),
    "moco_v3": _Method(
        source="github facebookresearch/moco-v3, CONFIG.md, moco/optimizer.py",
        global_batch_size=4096,
        learning_rate=4.8,
        learning_rate_rule="0.3 * batch / 256 (300 and 1,000 epochs)",
        warmup_epochs=None,
        decay="cosine to 0",
        exclusions="rank_1",
        unverified=("decay",),
        lars={"momentum": 0.9, "weight_decay": 1.5e-6, **_PYTORCH},
    ),
}

ROWS = [
    Row(
        name=name,
        recipe=None,
        source=method.source,
        unverified=method.unverified,
        note="; ".join(filter(None, ("optimizer settings only", method.note))),
        settings=MappingProxyType(
            {
                "model": "self-supervised",
                "optimizer": "lars",
                "global_batch_size": method.global_batch_size,
                "learning_rate": method.learning_rate,
                "warmup_epochs": method.warmup_epochs,
                "decay": method.decay,
                "momentum": method.lars["momentum"],
                "weight_decay": method.lars["weight_decay"],
                "exclude_from_weight_decay": method.exclusions,
                "exclude_from_layer_adaptation": method.exclusions,
            }
        ),
    )
    for name, method in _METHODS.items()
]


def settings(name: str) -> dict[str, Any]:
    """All that is known of a method's optimizer; `"lars"` are arguments of `keras_lars.LARS`.

    Raises:
        RecipeError: If there is no such method.
    """
    if name not in _METHODS:
        raise RecipeError(f"the method must be one of {', '.join(_METHODS)}. Received: {name}")
    return dataclasses.asdict(_METHODS[name])
