"""The messages that the pages for troubled users quote are those of the package."""

import ast
import re

import pytest
from support import ROOT, pages

pytestmark = pytest.mark.docs

# The parts of each message that do not depend on the case.
MESSAGES = [
    "of the initial moving statistics remain",
    "less than a hundredth of the initial",
    "there is no room for a warm-up and a decay",
    "is far too small for LARS",
    "did not train",
    "still trained",
    "made no update with",
    "After the end of its schedule",
    "is used up",
    ", but this schedule is for",
    ", but the schedule",
    "must match at least one variable path",
    "` is called",
    "trains by itself in each of the",
    "TF_CONFIG must be JSON",
    "all workers must start within",
    "The state of optimizer '",
    "' was not loaded",
    "the saved state does not match",
    "`LossScaleOptimizer` loads only its own state from an `.h5` file",
    "The training in '",
    "' is finished",
    "cannot be locked",
    "is gone",
]


def strings():
    """All strings in the package, and the constant parts of f-strings."""
    for path in sorted((ROOT / "keras_lars").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_on_the_page_and_in_the_package(message):
    page = " ".join(pages.read("docs/troubleshooting.md").split())
    assert message.strip("'") in page
    assert any(message in text for text in strings())


def test_the_warnings_of_the_usual_mistakes_are_in_the_package():
    table = pages.read("docs/first_training.md").split("## The usual mistakes")[1]
    quoted = re.findall(r'"(.+?)"', re.sub(r"```.*?```", "", table, flags=re.S))
    assert len(quoted) >= 7
    known = "\n".join(strings())
    assert [message for message in quoted if message not in known] == []
