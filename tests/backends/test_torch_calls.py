"""The torch calls of an update off the CPU, in a process of its own (torch_calls_script.py)."""

import importlib.util
import json

import pytest
from support.helpers import TESTS, run_python

pytestmark = [pytest.mark.processes, pytest.mark.other_backend]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    result = tmp_path_factory.mktemp("calls") / "result.json"
    script = TESTS / "support/torch_calls_script.py"
    run_python(script, result, KERAS_BACKEND="torch", KERAS_TORCH_DEVICE="meta")
    return json.loads(result.read_text())


@pytest.mark.parametrize(
    "check",
    [
        "check_resnet50",
        "check_nothing_is_made_on_the_host",
        "check_calls_do_not_grow",
        "check_micro_batches_are_read_once",
        "check_a_number_from_the_host_is_seen",
    ],
)
def test_calls(outcomes, check):
    assert outcomes[check] == "ok", outcomes[check]
