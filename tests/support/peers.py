"""Other implementations of LARS, as arguments of ours, for the table in docs/migration.md.

`PYTHONPATH=tests python -m support.peers` prints it.
"""

import dataclasses
from typing import Any

import keras_lars


@dataclasses.dataclass(frozen=True)
class Peer:
    """One implementation, at its own defaults.

    Attributes:
        name: Its name on the page.
        arguments: The arguments of `keras_lars.LARS`, as code, without the learning rate.
        differs: The differences, and other notes.
        file: The file of its recordings in `trajectories`; empty if its code was only read.
    """

    name: str
    arguments: str
    differs: str = ""
    file: str = ""

    def options(self, **changed: Any) -> dict:
        """The arguments, with some of them changed."""
        return {**eval(f"dict({self.arguments})", vars(keras_lars)), **changed}


NOTHING = "exclude_from_weight_decay=[]"
RANK_1 = "exclude_from_layer_adaptation=rank_at_most(1), exclude_from_weight_decay=rank_at_most(1)"
BIAS_AND_NORM = (
    "exclude_from_layer_adaptation=bias_or_normalization(), "
    "exclude_from_weight_decay=bias_or_normalization()"
)
OUTSIDE = 'momentum_form="learning_rate_outside"'
IN_NORM = "decay_in_norm=True"
# What others do where the norm of a weight is 0. None of them has a floor.
AT_1 = "zero_weight_ratio=1.0, weight_norm_floor=0"
FORMULA_AT_0 = "zero_gradient_ratio=None, weight_norm_floor=0"
# Where a gradient is 0, these neither scale nor decay: they add 0 to the velocity.
UNTOUCHED = "zero_gradient_ratio=0.0"

PEERS = [
    Peer("the paper", f"weight_decay=5e-4, {FORMULA_AT_0}, {NOTHING}"),
    Peer(
        "optax.lars",
        f"weight_decay=0.0, {AT_1}, {IN_NORM}, {NOTHING}",
        "Its `eps` is our `epsilon`. Its masks say what to include, our exclusions what to leave "
        "out. Its `weight_decay` may be a schedule, ours is a number.",
        "optax",
    ),
    Peer(
        "timm lars",
        f'{OUTSIDE}, weight_decay=0.0, {AT_1}, epsilon=1e-8, exclude_from_layer_adaptation=".*"',
        "Without weight decay timm adapts nothing; see the next row. The default `momentum` is "
        "0 in its class and 0.9 in its factory. `dampening` is not supported.",
        "timm",
    ),
    Peer(
        "timm lars, with decay",
        f"{OUTSIDE}, weight_decay=1e-4, {AT_1}, epsilon=1e-8, {RANK_1}",
        "With timm's factory, `create_optimizer_v2`, which does not decay parameters of rank 1 or "
        'less, those whose names end in ".bias", and those in `no_weight_decay` (add their paths). '
        "With `always_adapt=True`, replace `exclude_from_layer_adaptation` by `[]`. Without "
        "parameter groups, replace both exclusions by `[]`.",
        "timm",
    ),
    Peer(
        "timm lars, always_adapt=True",
        f"{OUTSIDE}, weight_decay=1e-4, {AT_1}, epsilon=1e-8, "
        "exclude_from_weight_decay=rank_at_most(1)",
        "With timm's factory, as in the row above.",
    ),
    Peer(
        "timm nlars",
        f"{OUTSIDE}, nesterov=True, weight_decay=1e-4, {AT_1}, epsilon=1e-8, {RANK_1}",
        'As in the row "timm lars, with decay".',
        "timm",
    ),
    Peer(
        "timm larc",
        f"{OUTSIDE}, trust_clip=True, weight_decay=1e-4, {AT_1}, epsilon=1e-8, {RANK_1}",
        'As in the row "timm lars, with decay".',
        "timm",
    ),
    Peer(
        "timm nlarc",
        f"{OUTSIDE}, trust_clip=True, nesterov=True, weight_decay=1e-4, {AT_1}, epsilon=1e-8, "
        f"{RANK_1}",
        'As in the row "timm lars, with decay".',
        "timm",
    ),
    Peer(
        "apex LARC around SGD",
        f"{OUTSIDE}, trust_coefficient=0.02, trust_clip=True, weight_decay=1e-4, "
        f"epsilon=1e-8, zero_weight_ratio=1e9, weight_norm_floor=0, {UNTOUCHED}, {NOTHING}",
        "The large `zero_weight_ratio` is clipped to 1, which apex uses for weights of 0. A "
        "gradient of 0 at a learning rate of 0 is treated differently. A group with "
        "`weight_decay=0` becomes `exclude_from_weight_decay` only. Groups with different learning "
        "rates are not supported. `LARSWrapper` of early lightning-bolts is the same; its `eta` is "
        "our `trust_coefficient`.",
    ),
    Peer(
        "apex LARC, clip=False",
        f"{OUTSIDE}, trust_coefficient=0.02, weight_decay=1e-4, {AT_1}, epsilon=1e-8, "
        f"{UNTOUCHED}, {NOTHING}",
        "Groups: as in the row above.",
    ),
    Peer(
        "pytorch_optimizer LARS",
        f"{OUTSIDE}, weight_decay=0.0, {AT_1}, zero_gradient_ratio=None, {RANK_1}",
        "For version 4.1. Versions before 4 leave the weight decay out of the denominator and "
        "begin with another velocity, which is not reproduced. `dampening` is not supported.",
        "pytorch_optimizer",
    ),
    Peer(
        "open_lars",
        f"weight_decay=0.0, {AT_1}, epsilon=1e-8, exclude_from_layer_adaptation=rank_at_most(1), "
        f"{NOTHING}",
        "",
        "open_lars",
    ),
    Peer(
        "torchlars around SGD",
        f"{OUTSIDE}, weight_decay=1e-4, {AT_1}, epsilon=1e-8, {NOTHING}",
    ),
    Peer(
        "MLPerf, TensorFlow 1",
        f"weight_decay=1e-4, {AT_1}, {BIAS_AND_NORM}",
        "Its `skip_list` sets both exclusions, and matches parts of names. It uses plain momentum "
        "for sparse gradients; ours adapts them.",
    ),
    Peer(
        "MLPerf, TensorFlow 2",
        f"weight_decay=1e-4, {AT_1}, epsilon=1e-7, {BIAS_AND_NORM}",
        "Its `epsilon=0` acts as 1e-7, whatever its log says.",
    ),
    Peer(
        "tf-models-official",
        f"weight_decay=0.0, {AT_1}, {IN_NORM}, {NOTHING}",
        "Its `weight_decay_rate` is our `weight_decay`. By default it also excludes from "
        "adaptation what it excludes from decay. Its `exclude_from_weight_decay=None` decays "
        "everything: write `[]`. Its models are Keras 2 models, whose `compile` takes no "
        "optimizer of Keras 3.",
        "tf_models",
    ),
    Peer(
        "tf-models-official, classic_momentum=False",
        f'momentum_form="ratio_of_update", weight_decay=0.0, {AT_1}, {IN_NORM}, {NOTHING}',
        "",
        "tf_models",
    ),
    Peer(
        "SimCLR",
        f"weight_decay=1e-6, {AT_1}, {IN_NORM}, {BIAS_AND_NORM}",
        "It also excludes its supervised head from both, and decays the kernel of the head by an "
        "L2 penalty in the loss: add the path of the head. Its `exclude_from_weight_decay=None` "
        "decays everything: write `[]`.",
    ),
    Peer(
        "SimCLR, classic_momentum=False",
        f'momentum_form="ratio_of_update", weight_decay=1e-6, {AT_1}, {IN_NORM}, {BIAS_AND_NORM}',
        "As in the row above.",
    ),
    Peer(
        "Barlow Twins",
        f"{OUTSIDE}, weight_decay=1e-6, {AT_1}, {IN_NORM}, {RANK_1}, "
        "unadapted_learning_rate_multiplier=0.0048 / 0.2",
        "For a learning rate of 0.2 * batch / 256; biases and normalization then move at 0.0048 * "
        "batch / 256.",
    ),
    Peer(
        "VICReg, BYOL, MoCo v3",
        f"{OUTSIDE}, weight_decay=1e-6, {AT_1}, {IN_NORM}, {RANK_1}",
        "The filters of BYOL say what to include, those of VICReg what to leave out.",
    ),
    Peer(
        "MAE, linear probe",
        f"{OUTSIDE}, weight_decay=0.0, {AT_1}, {IN_NORM}, {RANK_1}",
        "For a learning rate of 0.1 * batch / 256, too low for small data sets: see "
        "[linear probing](linear_probing.md).",
    ),
    Peer(
        "lightning-bolts, lightly",
        f"{OUTSIDE}, weight_decay=1e-4, {AT_1}, epsilon=1e-8, {UNTOUCHED}, {NOTHING}",
        "It does not adapt what it does not decay. A group with `weight_decay=0` becomes both "
        'exclusions; without any decay, pass `exclude_from_layer_adaptation=".*"`. `dampening` is '
        "not supported.",
        "lightning_bolts",
    ),
    Peer(
        "solo-learn",
        f"{OUTSIDE}, weight_decay=1e-4, {AT_1}, epsilon=1e-8, {UNTOUCHED}, {RANK_1}",
        "With `exclude_bias_n_norm=True`; otherwise replace both exclusions by `[]`. With "
        "`clip_lr=True`, or `clip=True` of the earlier `LARSWrapper`, add `trust_clip=True` and "
        "write `zero_weight_ratio=1e9`. `dampening` is not supported.",
    ),
    Peer(
        "flax.optim.LARS",
        f"weight_decay=0.0, {AT_1}, {NOTHING}",
    ),
    Peer(
        "MXNet LARS",
        f"{OUTSIDE}, weight_decay=1e-4, {AT_1}, {BIAS_AND_NORM}",
        "Its momentum correction is this form; `momentum_correction=False` is the classic one. Its "
        "default `momentum` is 0.",
    ),
    Peer(
        "PaddlePaddle",
        f"weight_decay=5e-4, {AT_1}, {NOTHING}",
        "It does not adapt what it does not decay: write its `exclude_from_weight_decay` into both "
        "exclusions.",
    ),
    Peer(
        "tf.contrib, before 2020",
        f'momentum_form="ratio_outside", weight_decay=0.0, {AT_1}',
        "Its weight decay is in the loss: leave it there. Its denominator also has "
        "`weight_decay * norm(w)`, which is not reproduced.",
    ),
]
BY_NAME = {peer.name: peer for peer in PEERS}


def table() -> str:
    """The table on the page."""
    lines = ["| coming from | arguments | notes | checked |", "|---|---|---|---|"]
    for peer in PEERS:
        known = "recorded" if peer.file else "read"
        lines.append(f"| {peer.name} | `{peer.arguments}` | {peer.differs} | {known} |")
    return "\n".join(lines)


# For each file of recordings and label: the peer, and the arguments that the recording changes.
COMMON = {"momentum": 0.9, "weight_decay": 0.05}
ADAPT_ALL = {"exclude_from_layer_adaptation": [], "exclude_from_weight_decay": []}
LISTS = {
    "exclude_from_layer_adaptation": ["twin"],
    "exclude_from_weight_decay": ["vector"],
}
NO_DECAY = {"weight_decay": 0.0, "exclude_from_layer_adaptation": ".*"}
RECORDED = {
    ("optax", "plain"): ("optax.lars", COMMON),
    ("optax", "nesterov"): ("optax.lars", {**COMMON, "nesterov": True}),
    ("optax", "no decay"): ("optax.lars", {}),
    ("optax", "no momentum"): ("optax.lars", {**COMMON, "momentum": 0.0, "epsilon": 0.01}),
    ("timm", "lars"): ("timm lars, with decay", {**COMMON, **ADAPT_ALL}),
    ("timm", "nlars"): ("timm nlars", {**COMMON, **ADAPT_ALL}),
    ("timm", "larc"): ("timm larc", {**COMMON, **ADAPT_ALL, "trust_coefficient": 0.02}),
    ("timm", "nlarc"): ("timm nlarc", {**COMMON, **ADAPT_ALL, "trust_coefficient": 0.02}),
    ("timm", "no decay"): ("timm lars", {}),
    ("timm", "always adapted"): ("timm lars, with decay", {**ADAPT_ALL, "weight_decay": 0.0}),
    ("pytorch_optimizer", "plain"): ("pytorch_optimizer LARS", COMMON),
    ("pytorch_optimizer", "nesterov"): ("pytorch_optimizer LARS", {**COMMON, "nesterov": True}),
    ("pytorch_optimizer", "no decay"): ("pytorch_optimizer LARS", {}),
    ("open_lars", "plain"): ("open_lars", COMMON),
    ("open_lars", "no decay"): ("open_lars", {}),
    ("tf_models", "classic"): ("tf-models-official", {**COMMON, **LISTS}),
    ("tf_models", "classic, nesterov"): (
        "tf-models-official",
        {**COMMON, **LISTS, "nesterov": True},
    ),
    ("tf_models", "popular"): (
        "tf-models-official, classic_momentum=False",
        {**COMMON, **LISTS},
    ),
    ("tf_models", "popular, nesterov"): (
        "tf-models-official, classic_momentum=False",
        {**COMMON, **LISTS, "nesterov": True},
    ),
    **{
        (file, label): ("lightning-bolts, lightly", changed)
        for file in ("lightning_bolts", "lightly")
        for label, changed in {
            "plain": COMMON,
            "nesterov": {**COMMON, "nesterov": True},
            "no decay": NO_DECAY,
        }.items()
    },
}
# All recordings in the type that shows the smallest error, and one of each file in the usual type.
COMPARED = [
    *((file, label, "float64") for file, label in RECORDED),
    *((file, label, "float32") for file, label in {each[0]: each for each in RECORDED}.values()),
]


if __name__ == "__main__":
    print(table())
