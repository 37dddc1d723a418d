"""The experiments of the paper, by the names of their commands."""

NAMES = (
    "norm_ratios",
    "local_learning_rate",
    "accuracy_by_epoch",
    "accuracy_by_learning_rate",
    "accuracy_by_batch_size",
    "generalization_gap",
    "ablations",
)
