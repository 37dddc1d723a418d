"""Settings of LARS in self-supervised learning, for use in your own training.

The networks, losses and views of these methods are not included. `settings("simclr")["lars"]` has
arguments of `keras_lars.LARS`. Other keys have the learning rate and the exclusions from weight
decay and layer adaptation, where `"rank_1"` is `keras_lars.rank_at_most(1)`.
"""

from typing import Any

from benchmarks.recipe import RecipeError
from benchmarks.recipes.rows import FIELDS, Row, read

# The columns that are arguments of `keras_lars.LARS`, and the arguments that all methods share.
_LARS_COLUMNS = ("weight_decay", "momentum_form", "unadapted_learning_rate_multiplier")
_LARS = {
    "momentum": 0.9,
    "trust_coefficient": 1e-3,
    "weight_norm_floor": 0.0,
    "decay_in_norm": True,  # they divide by norm(gradient + decay * weight)
}
_METHODS = {line.pop("name"): line for line in read("self_supervised.csv")}


def settings(name: str) -> dict[str, Any]:
    """The optimizer settings of a method such as "simclr". Raises RecipeError if there is none."""
    if name not in _METHODS:
        raise RecipeError(f"the method must be one of {', '.join(_METHODS)}. Received: {name}")
    method = {"unverified": (), "note": "", **_METHODS[name]}
    lars = {column: method.pop(column) for column in _LARS_COLUMNS if column in method}
    return {**method, "lars": _LARS | lars}


def _row(name: str) -> Row:
    method = settings(name)
    known = {
        **method,
        **method["lars"],
        "optimizer": "lars",
        "exclude_from_weight_decay": method["exclusions"],
        "exclude_from_layer_adaptation": method["exclusions"],
    }
    rule = f"rate {method['learning_rate_rule']}"
    notes = ["an optimizer setting without network and loss", rule, method["note"]]
    return Row(
        name=name,
        recipe=None,
        values={field: value for field, value in known.items() if field in FIELDS},
        source=method["source"],
        unverified=method["unverified"],
        note="; ".join(filter(None, notes)),
    )


ROWS = [_row(name) for name in _METHODS]
