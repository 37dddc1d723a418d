"""How LARS is set in self-supervised learning: the optimizer's settings, for your own training.

Networks, losses and views of those methods are not here. `settings("simclr")["lars"]` are arguments
of `keras_lars.LARS`; the learning rate and what is excluded, from both decay and adaptation, stand
beside them: `"rank_1"` is `keras_lars.rank_at_most(1)`.
"""

import copy
from types import MappingProxyType
from typing import Any

from benchmarks.recipe import RecipeError
from benchmarks.recipes.row import Row, joined


def _method(
    source: str,
    global_batch_size: int,
    learning_rate: float,
    learning_rate_rule: str,
    *,
    exclusions: str,
    warmup_epochs: float = 10.0,
    decay: str = "cosine to 0",
    unverified: tuple[str, ...] = (),
    note: str = "",
    **lars: Any,
) -> dict[str, Any]:
    """What its authors set; the learning rate is that of the peak, at that batch size."""
    return {
        "source": source,
        "global_batch_size": global_batch_size,
        "learning_rate": learning_rate,
        "learning_rate_rule": learning_rate_rule,
        "warmup_epochs": warmup_epochs,
        "decay": decay,
        "exclusions": exclusions,
        "unverified": unverified,
        "note": note,
        "lars": {
            "momentum": 0.9,
            "trust_coefficient": 1e-3,
            "weight_norm_floor": 0.0,
            "decay_in_norm": True,  # they divide by the norm of gradient and decay together
            **lars,
        },
    }


_SIMCLR = _method(
    "github google-research/simclr, lars_optimizer.py, run.py",
    4096,
    4.8,
    "0.3 * batch / 256",
    exclusions="bias_or_normalization",
    note="excludes the supervised head as well; README's command: weight decay 1e-4",
    weight_decay=1e-6,
)
_TO_A_THOUSANDTH = "cosine to 0.001 of it"
_OUTSIDE = "learning_rate_outside"
_METHODS = {
    "simclr": _SIMCLR,
    "simclr_sqrt": {
        **_SIMCLR,
        "learning_rate_rule": "0.075 * sqrt(batch)",
        "note": f"{_SIMCLR['note']}; the rate of the other rule at 4,096, and of no other batch",
    },
    "simclr_finetune": _method(
        "github google-research/simclr, README",
        1024,
        0.16,
        "0.005 * sqrt(batch)",
        exclusions="bias_or_normalization",
        warmup_epochs=0.0,
        unverified=("decay",),
        note="on 1 % of the labels",
        weight_decay=0.0,
    ),
    "byol": _method(
        "github deepmind/deepmind-research, byol/",
        4096,
        3.2,
        "0.2 * batch / 256",
        exclusions="bias_or_normalization",
        unverified=("global_batch_size", "decay"),
        note="1,000 epochs; of 40, 100, 300: rates 0.45, 0.45, 0.3, weight decay 1e-6",
        weight_decay=1.5e-6,
        momentum_form=_OUTSIDE,
    ),
    "barlow_twins": _method(
        "github facebookresearch/barlowtwins, main.py",
        2048,
        1.6,
        "0.2 * batch / 256",
        exclusions="rank_1",
        decay=_TO_A_THOUSANDTH,
        note="excluded ones have a rate of 0.0048 * batch / 256",
        weight_decay=1e-6,
        momentum_form=_OUTSIDE,
        unadapted_learning_rate_multiplier=0.0048 / 0.2,
    ),
    "vicreg": _method(
        "github facebookresearch/vicreg, main_vicreg.py",
        2048,
        1.6,
        "0.2 * batch / 256",
        exclusions="rank_1",
        decay=_TO_A_THOUSANDTH,
        unverified=(
            "global_batch_size",
            "learning_rate",
            "warmup_epochs",
            "decay",
            "momentum",
            "weight_decay",
            "exclude_from_weight_decay",
            "exclude_from_layer_adaptation",
        ),
        note="seen only in copies that others had changed",
        weight_decay=1e-6,
        momentum_form=_OUTSIDE,
    ),
    "moco_v3": _method(
        "github facebookresearch/moco-v3, CONFIG.md, main_moco.py",
        4096,
        4.8,
        "0.3 * batch / 256",
        exclusions="rank_1",
        note="ResNet-50, 1,000 epochs; of 100: 0.45, of 100 and 300: weight decay 1e-6",
        weight_decay=1.5e-6,
        momentum_form=_OUTSIDE,
    ),
}
_SHARED = ("global_batch_size", "learning_rate", "warmup_epochs", "decay")

ROWS = [
    Row(
        name=name,
        recipe=None,
        source=method["source"],
        unverified=method["unverified"],
        note=joined(
            "an optimizer setting, whose network and loss are not here",
            f"rate {method['learning_rate_rule']}",
            method["note"],
        ),
        settings=MappingProxyType(
            {
                "optimizer": "lars",
                **{field: method[field] for field in _SHARED},
                "momentum": method["lars"]["momentum"],
                "weight_decay": method["lars"]["weight_decay"],
                "exclude_from_weight_decay": method["exclusions"],
                "exclude_from_layer_adaptation": method["exclusions"],
            }
        ),
    )
    for name, method in _METHODS.items()
]


def settings(name: str) -> dict[str, Any]:
    """All that is known of a method's optimizer; `"lars"` are arguments of `keras_lars.LARS`.

    Args:
        name: Of the method, such as "simclr".

    Raises:
        RecipeError: If there is no such method.
    """
    if name not in _METHODS:
        raise RecipeError(f"the method must be one of {', '.join(_METHODS)}. Received: {name}")
    return copy.deepcopy(_METHODS[name])
