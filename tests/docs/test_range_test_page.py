"""The pages on the range test agree with the committed results."""

import pytest
from support import RESULTS

from benchmarks.experiments import results

pytestmark = pytest.mark.docs


def gains():
    """By data, network and batch: the mean gain of the range test over the rule, in points."""
    path = RESULTS / "studies" / "learning_rate_choice.json"
    found = results.read(path, "--show", "learning_rate_choice")
    assert len(found["rows"]) == found["planned"] == 60
    table = results.frame(found)
    means = table.groupby(["data", "network", "batch", "choice"])["test_accuracy"].mean().unstack()
    return 100 * (means["range test"] - means["rule"])


def range_of(gains):
    return round(gains.min(), 1), round(gains.max(), 1)


def test_the_range_test_is_better_with_many_updates():
    found = gains()
    assert range_of(found["digits"]) == (0.2, 0.6)
    at_512 = found["fashion_mnist"].xs(512, level="batch")
    assert at_512.round(1).to_dict() == {"plain": 0.6, "residual": 0.5, "vit": -0.1}


def test_the_rule_is_better_with_few_updates():
    assert range_of(-gains()["fashion_mnist"].xs(4096, level="batch")) == (0.3, 1.5)
