"""The experiments of the paper, by the names of their commands, and the class of any experiment."""

import pkgutil

NAMES = (
    "norm_ratios",
    "local_learning_rate",
    "accuracy_by_epoch",
    "accuracy_by_learning_rate",
    "accuracy_by_batch_size",
    "generalization_gap",
    "ablations",
)


def find(name):
    """The class of an experiment, by the name of its module."""
    kind = name.title().replace("_", "")
    return pkgutil.resolve_name(f"benchmarks.experiments.{name}:{kind}")
