"""Settings of LARS in self-supervised learning, for use in your own training.

The networks, losses and views of these methods are not included. `settings("simclr")["lars"]` has
arguments of `keras_lars.LARS`. Other keys have the learning rate and the exclusions from weight
decay and layer adaptation, where `"rank_1"` is `keras_lars.rank_at_most(1)`.
"""

import copy
from typing import Any

from benchmarks.recipe import RecipeError
from benchmarks.recipes.rows import Row, read

_SHARED = ("global_batch_size", "learning_rate", "warmup_epochs", "decay")
# The columns that are arguments of `keras_lars.LARS`, and the arguments that all methods share.
_LARS_COLUMNS = ("weight_decay", "momentum_form", "unadapted_learning_rate_multiplier")
_LARS = {
    "momentum": 0.9,
    "trust_coefficient": 1e-3,
    "weight_norm_floor": 0.0,
    "decay_in_norm": True,  # they divide by norm(gradient + decay * weight)
}


def _method(line: dict[str, Any]) -> dict[str, Any]:
    lars = {column: line.pop(column) for column in _LARS_COLUMNS if column in line}
    return {"unverified": (), "note": "", **line, "lars": _LARS | lars}


_METHODS = {line.pop("name"): _method(line) for line in read("self_supervised.csv")}


def _row(name: str, method: dict[str, Any]) -> Row:
    rule = f"rate {method['learning_rate_rule']}"
    notes = ["an optimizer setting without network and loss", rule, method["note"]]
    settings = {
        "optimizer": "lars",
        **{field: method[field] for field in _SHARED},
        "momentum": method["lars"]["momentum"],
        "weight_decay": method["lars"]["weight_decay"],
        "exclude_from_weight_decay": method["exclusions"],
        "exclude_from_layer_adaptation": method["exclusions"],
    }
    return Row(
        name=name,
        recipe=None,
        source=method["source"],
        unverified=method["unverified"],
        note="; ".join(filter(None, notes)),
        settings=settings,
    )


ROWS = [_row(name, method) for name, method in _METHODS.items()]


def settings(name: str) -> dict[str, Any]:
    """The optimizer settings of a method such as "simclr". Raises RecipeError if there is none."""
    if name not in _METHODS:
        raise RecipeError(f"the method must be one of {', '.join(_METHODS)}. Received: {name}")
    return copy.deepcopy(_METHODS[name])
