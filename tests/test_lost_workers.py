"""Workers are lost, the others say so, and all are started again and end with the same bits."""

import json
import pickle
import re
import signal

from helpers import run_command
from models import assert_equal


def run_cluster(*arguments):
    """Run it to its end: the exit status of each worker, and what was printed."""
    done = run_command("cluster_script", *arguments)
    last = done.stdout.splitlines()[-1:]
    return json.loads(last[0]) if last else None, done.stdout + done.stderr


def test_workers_are_killed_and_started_again(tmp_path):
    """In mid-epoch and mid-accumulation, and in the write of a backup, which is there in part."""
    statuses, output = run_cluster(tmp_path, 2, "killed_in_mid_epoch")
    assert statuses == [0, -signal.SIGKILL], output[-4000:]
    assert_names_the_loss(tmp_path / "0" / "killed_in_mid_epoch.pickle")

    statuses, output = run_cluster(tmp_path, 2, "killed_in_the_write")
    assert statuses == [-signal.SIGKILL, 0], output[-4000:]
    assert_names_the_loss(tmp_path / "1" / "killed_in_the_write.pickle")
    found = [path.name for path in (tmp_path / "backup").iterdir()]
    assert "backup.npz" in found
    assert len(found) > 1  # and what there is of the next one

    statuses, output = run_cluster(tmp_path, 2, "started_again")
    assert statuses == [0, 0], output[-4000:]
    for worker in range(2):
        seen = pickle.loads((tmp_path / str(worker) / "started_again.pickle").read_bytes())
        again, whole = seen["again"], seen["whole"]
        assert_equal(again.pop("all"), whole.pop("all"))
        for name, (values,) in again.items():  # logs, of the epochs that it did
            assert_equal([values], [whole[name][0][-len(values) :]])


def assert_names_the_loss(path):
    error = pickle.loads(path.read_bytes())["error"]
    assert error.startswith("Another worker was lost")
    assert re.search("Received: .*(task|peer|socket|heartbeat)", error), error
