"""Published accuracies by batch size on ImageNet. None of them were measured here."""

from benchmarks import frames
from benchmarks.recipes import ROWS

BATCHES = (512, 8192, 16384, 32768)

# For each table row, points by batch size: the recipe with the published accuracy, or the accuracy.
_GOYAL = "arXiv 1706.02677"
_SGD: dict[int, str | float] = {512: "alexnet_sgd_512_0.02", 8192: "alexnet_sgd_8192_0.03"}
_SGD_BN: dict[int, str | float] = {512: "alexnet_bn_sgd_512_0.02", 8192: "alexnet_bn_sgd_8192_0.3"}
PUBLISHED: dict[str, tuple[dict[int, str | float], str]] = {
    "AlexNet, momentum, best of several rates": (_SGD, ""),
    "AlexNet, LARS": ({batch: f"alexnet_lars_{batch}" for batch in BATCHES}, ""),
    "AlexNet-BN, momentum, best of several rates": (_SGD_BN, ""),
    "AlexNet-BN, LARS": ({batch: f"alexnet_bn_lars_{batch}" for batch in BATCHES}, ""),
    "ResNet-50, momentum, linear scaling": ({8192: 76.26, 16384: 75.21, 32768: 72.45}, _GOYAL),
    "ResNet-50, LARS": ({batch: f"resnet50_lars_{batch}" for batch in BATCHES[1:]}, ""),
    "ResNet-50, LARS, square-root scaling": ({batch: f"nus_{batch}" for batch in BATCHES}, ""),
    "ResNet-50, all tuned: Nesterov and LARS alike": ({32768: 75.9}, "arXiv 2102.06356"),
}


def table() -> str:
    """The published accuracies as a Markdown table."""
    lines = []
    for words, (points, source) in PUBLISHED.items():
        named = [ROWS[name] for name in points.values() if isinstance(name, str)]
        cells = {f"{batch:,}": _reached(points.get(batch)) for batch in BATCHES}
        lines.append({"published": words, **cells, "source": source or named[0].source})
    return frames.markdown(lines)


def _reached(point: str | float | None) -> str:
    if point is None:
        return ""
    found = ROWS[point].published if isinstance(point, str) else point
    return str(found)
