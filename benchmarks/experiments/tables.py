"""The table of the paper's experiments, and cells that several experiments share."""

import pandas as pd

from benchmarks import frames
from benchmarks.experiments import results


def by_seed(found: dict) -> str:
    """One row per label, over all of its seeds: settings, accuracy and the published accuracy."""
    table = results.frame(found)
    lines = [_line(group) for _, group in table.groupby("line", sort=False)]
    texts = sum(isinstance(value, str) for value in table["label"].iloc[0].values())
    text = frames.markdown(lines, texts)
    sources = dict.fromkeys(
        part for source in table["source"] for part in source.split("; ") if part
    )
    return text + (f"\n\nPublished: {'; '.join(sources)}." if sources else "")


def _line(group: pd.DataFrame) -> dict[str, str]:
    first = group.iloc[0]
    recipe = first["settings"]
    label = first["label"].items()
    values = {
        **dict(sorted(label, key=lambda item: not isinstance(item[1], str))),  # texts first
        "learning rate": recipe["learning_rate"],
        "warm-up, epochs": recipe["warmup_epochs"],
        "epochs": recipe["epochs"],
        "seeds": len(group),
        "accuracy, %": accuracy(group),
        "published, ImageNet, %": first["published"],
    }
    return {name: cell(value) for name, value in values.items()}


def accuracy(group: pd.DataFrame) -> str:
    """Mean and range of the accuracy on held-out images, and the updates of divergences."""
    diverged = group["diverged"].astype(bool)
    reached = 100 * group.loc[~diverged, "validation_accuracy"].astype(float)
    updates = sorted(group.loc[diverged, "diverged_at_update"])
    parts = []
    if len(reached):
        spread = f" ({reached.min():.1f} to {reached.max():.1f})" if len(reached) > 1 else ""
        parts.append(f"{reached.mean():.1f}{spread}")
    if updates:
        parts.append(f"diverged at update {', '.join(f'{update:.0f}' for update in updates)}")
    return "; ".join(parts)


def mean(values: pd.Series, format: str) -> str:
    """The mean, with the standard deviation in brackets if there are several values."""
    spread = f" ({values.std():{format}})" if len(values) > 1 else ""
    return f"{values.mean():{format}}{spread}"


def cell(value: str | float | None) -> str:
    """A value in a table; blank if it is missing."""
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return ""
    return f"{value:.4g}" if value % 1 else f"{value:.0f}"
