"""What two replicas do, four do as well: some of `test_distribute.py` in another process."""

import pathlib
import re

import pytest
from support.helpers import run_command

pytestmark = pytest.mark.processes

CASES = [
    "test_a_custom_loop_equals_one_device[accumulation, clipped and averaged]",
    "test_an_infinity_on_one_replica_changes_nothing_but_the_scale[accumulation]",
    "test_the_update_is_compiled[auto-accumulation]",
    "test_squared_norms_are_of_the_parts_of_all_replicas[2]",
]


def test_four_replicas_equal_one_device():
    file = pathlib.Path(__file__).with_name("test_distribute.py")
    done = run_command(
        *("pytest", "-q", "-p", "no:cacheprovider"),
        *(f"{file}::{case}" for case in CASES),
        KERAS_LARS_TEST_REPLICAS="4",
    )
    output = done.stdout
    assert done.returncode == 0, output[-4000:]
    assert re.search(rf"^{len(CASES)} passed", output, re.MULTILINE), output
