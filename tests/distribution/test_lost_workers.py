"""Workers are lost, the others say so, and all are started again and end with the same bits."""

import json
import pickle
import re
import signal

import pytest
from support.backups import position_in
from support.helpers import run_command
from support.models import assert_equal

pytestmark = pytest.mark.processes


def run_cluster(*arguments):
    """Run it to its end: the exit status of each worker, and what was printed."""
    done = run_command("support.cluster_script", *arguments)
    last = done.stdout.splitlines()[-1:]
    return json.loads(last[0]) if last else None, done.stdout + done.stderr


def seen_by(folder, worker, name):
    return pickle.loads((folder / str(worker) / f"{name}.pickle").read_bytes())


def test_workers_are_killed_and_started_again(tmp_path):
    """In mid-epoch and mid-accumulation, and in the write of a backup, which is there in part."""
    statuses, output = run_cluster(tmp_path, 2, "killed_in_mid_epoch")
    assert statuses == [0, -signal.SIGKILL], output[-4000:]
    assert_names_the_loss(seen_by(tmp_path, 0, "killed_in_mid_epoch")["error"])

    statuses, output = run_cluster(tmp_path, 2, "killed_in_the_write")
    assert statuses == [-signal.SIGKILL, 0], output[-4000:]
    assert_names_the_loss(seen_by(tmp_path, 1, "killed_in_the_write")["error"])
    found = [path.name for path in (tmp_path / "backup").iterdir()]
    assert "backup.npz" in found
    assert len(found) > 1  # and what there is of the next one

    statuses, output = run_cluster(tmp_path, 2, "killed_by_sigterm")
    assert statuses == [0, -signal.SIGTERM], output[-4000:]
    assert "has received SIGTERM" in seen_by(tmp_path, 0, "killed_by_sigterm")["error"]
    assert position_in(tmp_path / "backup") == (1, 4)  # the batch after the signal

    statuses, output = run_cluster(tmp_path, 2, "started_again")
    assert statuses == [0, 0], output[-4000:]
    for worker in range(2):
        seen = seen_by(tmp_path, worker, "started_again")
        again, whole = seen["again"], seen["whole"]
        assert_equal(again.pop("all"), whole.pop("all"))
        for name, (values,) in again.items():  # logs, of the epochs that it did
            assert_equal([values], [whole[name][0][-len(values) :]])


@pytest.mark.parametrize(("lost", "how"), [(0, "SIGKILL"), (0, "SIGSTOP"), (2, "SIGSTOP")])
def test_a_worker_is_lost_while_all_start(tmp_path, lost, how):
    """The first one, whom all register with, or another: the others say so, and can end."""
    done = run_command("support.lost_at_start_script", tmp_path, lost, how)
    statuses = json.loads(done.stdout.splitlines()[-1])
    expected = [75, 75, 75]
    expected[lost] = -signal.SIGKILL
    assert statuses == expected, done.stderr[-4000:]
    for index in {0, 1, 2} - {lost}:
        assert_names_the_loss((tmp_path / f"{index}.error").read_text())


@pytest.mark.parametrize("hows", [["machine"], ["between", "switch"]], ids=" ".join)
def test_links_are_cut_and_all_start_again(tmp_path, hows):
    """On machines of a network: each says that a worker is lost, also the one cut off."""
    workers = 2 if hows == ["machine"] else 3
    done = run_command("support.network_script", tmp_path, workers, *hows)
    assert done.returncode == 0, done.stderr[-4000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    if "refused" in seen:
        pytest.skip(f"needs network namespaces: {seen['refused']}")
    output = (done.stdout + done.stderr)[-6000:]
    assert (seen["whole"], seen["again"]) == ([0] * workers, [0] * workers), output
    assert seen["lost"] == [[75] * workers for _ in hows], output
    assert max(seen["seconds"]) < 60
    for index in range(workers):
        assert (tmp_path / "again" / f"{index}.heartbeat").read_text() == "5000"  # as asked for
        for how in hows:
            assert_names_the_loss((tmp_path / how / f"{index}.error").read_text())
        again, whole = (
            pickle.loads((tmp_path / name / f"{index}.pickle").read_bytes())
            for name in ("again", "whole")
        )
        assert_equal(again, whole)


def assert_names_the_loss(error):
    assert error.startswith("Another worker was lost")
    assert re.search("Received: .*(task|peer|socket|[Hh]eartbeat)", error), error
