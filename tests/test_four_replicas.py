"""What two replicas do, four do as well: some of `test_distribute.py` in another process."""

import pathlib
import re

from helpers import run_command

CASES = [
    "test_a_custom_loop_equals_one_device",
    "test_fit_equals_one_device",
    "test_an_infinity_on_one_replica",
    "test_the_update_is_compiled",
]
WITH = ["classic", "accumulation", "infinity", "auto"]


def test_four_replicas_equal_one_device():
    done = run_command(
        *("pytest", "-q", "-p", "no:cacheprovider"),
        *("-k", f"({' or '.join(CASES)}) and ({' or '.join(word.split()[0] for word in WITH)})"),
        str(pathlib.Path(__file__).with_name("test_distribute.py")),
        KERAS_LARS_TEST_REPLICAS="4",
    )
    output = done.stdout
    assert done.returncode == 0, output[-4000:]
    passed = re.search(r"(\d+) passed, \d+ deselected", output)
    assert passed, output
    assert int(passed[1]) >= 7, output
