"""How LARS is set in self-supervised learning: the optimizer's settings, for your own training.

Networks, losses and views of those methods are not here. `settings("simclr")["lars"]` are arguments
of `keras_lars.LARS`; the learning rate and what is excluded, from both decay and adaptation, stand
beside them: `"rank_1"` is `keras_lars.rank_at_most(1)`.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from benchmarks.recipe import RecipeError
from benchmarks.recipes.row import Row, joined


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Method:
    """What its authors set."""

    source: str
    global_batch_size: int
    learning_rate: float  # at the peak, at that batch size
    learning_rate_rule: str
    warmup_epochs: float
    decay: str
    exclusions: str
    unverified: tuple[str, ...] = ()
    note: str = ""
    lars: Mapping[str, Any]


_SIMCLR = _Method(
    source="github google-research/simclr, lars_optimizer.py, run.py",
    global_batch_size=4096,
    learning_rate=4.8,
    learning_rate_rule="0.3 * batch / 256",
    warmup_epochs=10.0,
    decay="cosine to 0",
    exclusions="bias_or_normalization",
    note="excludes the supervised head as well; README's command: weight decay 1e-4",
    lars={
        "momentum": 0.9,
        "weight_decay": 1e-6,
        "trust_coefficient": 1e-3,
        "weight_norm_floor": 0.0,
        "decay_in_norm": True,
    },
)


# Those below divide by the norm of gradient and decay together, as SimCLR does, and have the rate
# outside the momentum.
def _rate_outside(weight_decay: float, **more: Any) -> dict[str, Any]:
    return {
        **_SIMCLR.lars,
        "weight_decay": weight_decay,
        "momentum_form": "learning_rate_outside",
        **more,
    }


_METHODS = {
    "simclr": _SIMCLR,
    "simclr_sqrt": dataclasses.replace(
        _SIMCLR,
        learning_rate_rule="0.075 * sqrt(batch)",
        note=f"{_SIMCLR.note}; the rate of the other rule at 4,096, and of no other batch",
    ),
    "simclr_finetune": dataclasses.replace(
        _SIMCLR,
        source="github google-research/simclr, README",
        global_batch_size=1024,
        learning_rate=0.16,
        learning_rate_rule="0.005 * sqrt(batch)",
        warmup_epochs=0.0,
        unverified=("decay",),
        note="on 1 % of the labels",
        lars={**_SIMCLR.lars, "weight_decay": 0.0},
    ),
    "byol": _Method(
        source="github deepmind/deepmind-research, byol/",
        global_batch_size=4096,
        learning_rate=3.2,
        learning_rate_rule="0.2 * batch / 256",
        warmup_epochs=10.0,
        decay="cosine to 0",
        exclusions="bias_or_normalization",
        unverified=("global_batch_size", "decay"),
        note="1,000 epochs; of 40, 100, 300: rates 0.45, 0.45, 0.3, weight decay 1e-6",
        lars=_rate_outside(1.5e-6),
    ),
    "barlow_twins": _Method(
        source="github facebookresearch/barlowtwins, main.py",
        global_batch_size=2048,
        learning_rate=1.6,
        learning_rate_rule="0.2 * batch / 256",
        warmup_epochs=10.0,
        decay="cosine to 0.001 of it",
        exclusions="rank_1",
        note="excluded ones have a rate of 0.0048 * batch / 256",
        lars=_rate_outside(1e-6, unadapted_learning_rate_multiplier=0.0048 / 0.2),
    ),
    "vicreg": _Method(
        source="github facebookresearch/vicreg, main_vicreg.py",
        global_batch_size=2048,
        learning_rate=1.6,
        learning_rate_rule="0.2 * batch / 256",
        warmup_epochs=10.0,
        decay="cosine to 0.001 of it",
        exclusions="rank_1",
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
        lars=_rate_outside(1e-6),
    ),
    "moco_v3": _Method(
        source="github facebookresearch/moco-v3, CONFIG.md, main_moco.py",
        global_batch_size=4096,
        learning_rate=4.8,
        learning_rate_rule="0.3 * batch / 256",
        warmup_epochs=10.0,
        decay="cosine to 0",
        exclusions="rank_1",
        note="ResNet-50, 1,000 epochs; of 100: 0.45, of 100 and 300: weight decay 1e-6",
        lars=_rate_outside(1.5e-6),
    ),
}


def _row(name: str, method: _Method) -> Row:
    values = {
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
    return Row(
        name=name,
        recipe=None,
        source=method.source,
        unverified=method.unverified,
        note=joined(
            "an optimizer setting, whose network and loss are not here",
            f"rate {method.learning_rate_rule}",
            method.note,
        ),
        settings=MappingProxyType(values),
    )


ROWS = [_row(name, method) for name, method in _METHODS.items()]


def settings(name: str) -> dict[str, Any]:
    """All that is known of a method's optimizer; `"lars"` are arguments of `keras_lars.LARS`.

    Args:
        name: Of the method, such as "simclr".

    Raises:
        RecipeError: If there is no such method.
    """
    if name not in _METHODS:
        raise RecipeError(f"the method must be one of {', '.join(_METHODS)}. Received: {name}")
    return dataclasses.asdict(_METHODS[name])
