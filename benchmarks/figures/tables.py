"""Results as Markdown tables."""

from collections.abc import Sequence

from benchmarks.figures import results


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A Markdown table; all columns but the first `texts` hold numbers, on the right."""
    cells = [list(header), *map(list, lines)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    marks = [
        "-" * width if i < texts else "-" * (width - 1) + ":" for i, width in enumerate(widths)
    ]
    rows = [
        [
            cell.ljust(width) if i < texts else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ]
        for line in cells
    ]
    rows.insert(1, marks)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def of_groups(found: dict) -> str:
    """A line for all seeds of a point: what sets it apart, its rate, and what it reached."""
    lines = []
    for group in results.groups(found["points"]):
        recipe = group[0]["recipe"]
        label = {name: text(value) for name, value in group[0]["label"].items()}
        lines.append(
            {
                **label,
                "learning rate": text(recipe["learning_rate"]),
                "warm-up, epochs": text(recipe["warmup_epochs"]),
                "epochs": text(recipe["epochs"]),
                "seeds": str(len(group)),
                "accuracy, %": accuracy(group),
                "published, ImageNet, %": text(group[0]["published"]),
            }
        )
    if not lines:
        return "no results yet"
    header = list(dict.fromkeys(name for line in lines for name in line))
    texts = [name for name in header if isinstance(_label(found).get(name), str)]
    header = texts + [name for name in header if name not in texts]
    table = markdown(
        header, [[line.get(name, "") for name in header] for line in lines], len(texts)
    )
    sources = dict.fromkeys(
        part for point in found["points"] for part in point["source"].split("; ") if part
    )
    return table + (f"\n\nPublished: {'; '.join(sources)}." if sources else "")


def _label(found: dict) -> dict:
    return found["points"][0]["label"]


def accuracy(group: list[dict]) -> str:
    """The mean of the seeds with their range, and how many diverged when."""
    reached = results.accuracies(group)
    diverged = [p["result"]["diverged_at_update"] for p in group if p["result"]["diverged"]]
    parts = []
    if reached:
        mean = sum(reached) / len(reached)
        spread = f" ({min(reached):.1f} to {max(reached):.1f})" if len(reached) > 1 else ""
        parts.append(f"{mean:.1f}{spread}")
    if diverged:
        updates = ", ".join(map(str, sorted(diverged)))
        parts.append(f"diverged at update {updates}")
    return "; ".join(parts)


def text(value: str | float | None) -> str:
    """A cell."""
    if value is None or isinstance(value, str):
        return value or ""
    return str(value) if isinstance(value, int) else f"{value:.4g}"
