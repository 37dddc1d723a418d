"""A local cluster places its workers, shows their output, and always ends all of them."""

import fcntl
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import time

import pytest
from support import ROOT

from benchmarks import local_cluster, worker_lines
from benchmarks.command_line import UsageError
from benchmarks.worker_lines import LONGEST_LINE, Lines

pytestmark = pytest.mark.processes

PATIENCE = 60  # seconds before a waiting test gives up; none should take that long

# Workers run this first. They work in the test's folder, and leave their process IDs there.
PRELUDE = """
import json, os, signal, subprocess, sys, time
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]

def note(name, number=None):
    with open(name + ".part", "w") as file:
        file.write(str(number or os.getpid()))
    os.rename(name + ".part", name)

def wait_for(*names):
    while not all(map(os.path.exists, names)):
        time.sleep(0.01)

def child(name, **arguments):
    process = subprocess.Popen(["sleep", "600"], **arguments)
    note(name, process.pid)
"""


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gone(number):
    """Whether a process has ended. A zombie has too: some containers have no init to reap it."""
    try:
        os.kill(number, 0)
        return pathlib.Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except FileNotFoundError:  # it has just ended, or this system has no /proc
        return False


class Launcher:
    """The command, in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.process = None

    def start(self, *arguments, before=(), **options):
        command = [*before, sys.executable, "-m", "benchmarks.local_cluster", *arguments]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CONFIG": "of a former cluster"}
        environment.pop("PYTHONUNBUFFERED", None)
        self.process = subprocess.Popen(command, cwd=self.folder, env=environment, **options)

    def start_workers(self, code, workers=2, grace_seconds=600, **options):
        """The default grace is longer than a test waits, so no worker that ends was killed."""
        numbers = [f"--workers={workers}", f"--grace_seconds={grace_seconds}"]
        python = [sys.executable, "-S", "-c", PRELUDE + code]
        self.start(*numbers, "--", *python, **options)

    def finish(self):
        """Its exit status, and the lines of its standard output and standard error."""
        output, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output.decode().splitlines(), errors.decode().splitlines()

    def first_line(self):
        assert select.select([self.process.stdout], [], [], PATIENCE)[0]
        return self.process.stdout.readline()

    def numbers(self, *names):
        """The process IDs that workers left under these names, once all are there."""
        wait_until(lambda: all((self.folder / name).exists() for name in names))
        return [int((self.folder / name).read_text()) for name in names]


@pytest.fixture
def launcher(tmp_path):
    # A test run in the background may ignore signals, and processes inherit that.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    for number in before:
        signal.signal(number, signal.default_int_handler)
    launcher = Launcher(tmp_path)
    yield launcher
    for number, handler in before.items():
        signal.signal(number, handler)
    if launcher.process:
        launcher.process.kill()
        launcher.process.communicate(timeout=PATIENCE)


# --- what workers see and show --------------------------------------------------------------------


def test_each_worker_finds_its_place(launcher):
    launcher.start_workers("print(os.environ['TF_CONFIG'])", workers=3)
    status, output, errors = launcher.finish()
    assert (status, errors) == (0, ["local_cluster: every worker exited with status 0"])
    configs = [
        json.loads(line.removeprefix(f"[worker {i}] ")) for i, line in enumerate(sorted(output))
    ]
    assert [config["task"] for config in configs] == [
        {"type": "worker", "index": index} for index in range(3)
    ]
    clusters = [config["cluster"] for config in configs]
    assert clusters[0] == clusters[1] == clusters[2]
    assert clusters[0].keys() == {"worker"}
    assert len(set(clusters[0]["worker"])) == 3
    assert all(re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", one) for one in clusters[0]["worker"])


def test_ports_differ():
    assert len(set(local_cluster.free_addresses(400))) == 400


def test_lines_are_whole_and_labeled(launcher):
    code = """
for line in range(300):
    for target in (1, 2):
        for part in (f"{target} {line} ", "x" * 50 * (line % 7), "y\\n"):
            os.write(target, part.encode())
os.write(1, b"no end")
os.write(2, b"\\xff\\x00\\n\\n")
"""
    launcher.start_workers(code, workers=3)
    output, errors = launcher.process.communicate(timeout=PATIENCE)
    assert launcher.process.returncode == 0
    *errors, story = errors.splitlines(keepends=True)
    assert story.startswith(b"local_cluster: ")
    last = {1: b"no end\n", 2: b"\xff\x00\n"}
    for target, lines in ((1, output.splitlines(keepends=True)), (2, errors)):
        for index in range(3):
            label = b"[worker %d] " % index
            mine = [line.removeprefix(label) for line in lines if line.startswith(label)]
            expected = [
                b"%d %d %sy\n" % (target, line, b"x" * 50 * (line % 7)) for line in range(300)
            ]
            assert mine == [*expected, last[target], *([b"\n"] if target == 2 else [])]
        assert all(re.match(rb"\[worker [012]\] ", line) for line in lines)


def test_output_is_shown_as_it_is_written(launcher):
    launcher.start_workers("print('at once'); time.sleep(600)", workers=1)
    assert launcher.first_line() == b"[worker 0] at once\n"
    assert launcher.process.poll() is None


def test_a_progress_bar_is_shown_while_it_moves(launcher):
    launcher.start_workers("print('\\r1/2', end=''); time.sleep(600)", workers=1)
    assert launcher.first_line() == b"[worker 0] 1/2\n"
    assert launcher.process.poll() is None


def test_a_long_line_is_truncated(launcher):
    launcher.start_workers("print('x' * 1_000_000); print('next')", workers=1)
    _, output, _ = launcher.finish()
    first = f"[worker 0] {'x' * LONGEST_LINE} ... ({1_000_000 - LONGEST_LINE} more bytes)"
    assert output == [first, "[worker 0] next"]


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"a\n\nb", [b"a", b"", b"b"]),
        (b"a\r\nb\r\n\r\n", [b"a", b"b", b""]),
        (b"\r1/9\b\b\b\r2/9\b\b\b\r9/9\nafter\n", [b"9/9", b"after"]),
        (b"10%\r20%\r", [b"20%"]),
    ],
)
def test_lines(text, expected, size):
    lines = Lines()
    found = [line for i in range(0, len(text), size) for line in lines.add(text[i : i + size])]
    assert found + lines.rest() == expected


def test_a_bar_is_shown_once_a_second(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(worker_lines.time, "monotonic", lambda: now[0])
    lines, shown = Lines(), []
    for i in range(1, 26):
        assert lines.add(b"\b\b\b\b\r%d/25" % i) == []
        shown += lines.bar()
        now[0] += 0.125
    assert shown == [b"1/25", b"9/25", b"17/25", b"25/25"]
    assert lines.add(b"\nnext") == []  # the finished bar was already shown
    assert lines.bar() == []  # no bar
    assert lines.add(b"\n") == [b"next"]


def test_an_endless_line_takes_bounded_memory():
    lines = Lines()
    for _ in range(100_000):
        assert lines.add(b"x" * 1000) == []
        assert len(lines.text) <= LONGEST_LINE
    assert lines.size == 100_000_000


def test_workers_do_not_wait_for_input(launcher):
    launcher.start_workers("print(repr(sys.stdin.read()))", workers=1, stdin=subprocess.PIPE)
    assert launcher.first_line() == b"[worker 0] ''\n"


# --- exit statuses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "status", "story"),
    [
        ("sys.exit(3)", 3, "worker 1 exited with status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, r"worker 1 was killed by signal 9 \(.+\)"),
        ("os.kill(os.getpid(), signal.SIGALRM)", 142, r"worker 1 was killed by signal 14 \(.+\)"),
    ],
)
def test_a_worker_that_fails_stops_the_others(launcher, end, status, story):
    code = f"""
if index == 1:
    wait_for("0", "2")
    {end}
note(str(index))
time.sleep(600)
"""
    launcher.start_workers(code, workers=3)
    found, output, errors = launcher.finish()
    assert found == status
    assert output == []
    assert re.fullmatch(f"local_cluster: {story}; stopped the others", errors[-1])
    for number in launcher.numbers("0", "2"):
        wait_until(lambda number=number: gone(number))


def test_the_first_failure_counts(launcher):
    """The others fail too when they are stopped. A worker that is done is left alone."""
    code = """
if index == 0:
    note("done")
elif index == 2:
    wait_for("done", "ready")
    sys.exit(7)
else:
    signal.signal(signal.SIGTERM, lambda *_: (print("stopping", file=sys.stderr), sys.exit(4)))
    note("ready")
    time.sleep(600)
"""
    launcher.start_workers(code, workers=3)
    status, _, errors = launcher.finish()
    assert status == 7
    story = "local_cluster: worker 2 exited with status 7; stopped the others"
    assert errors == ["[worker 1] stopping", story]


def test_a_lone_worker_that_fails(launcher):
    launcher.start_workers("sys.exit(5)", workers=1)
    assert launcher.finish() == (5, [], ["local_cluster: worker 0 exited with status 5"])


# --- how workers end ------------------------------------------------------------------------------


def test_a_worker_that_ignores_sigterm_is_killed(launcher):
    code = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if index == 1:
    wait_for("0")
    sys.exit(3)
note("0")
time.sleep(600)
"""
    launcher.start_workers(code, grace_seconds=0.2)
    assert launcher.finish()[0] == 3
    (number,) = launcher.numbers("0")
    wait_until(lambda: gone(number))


WITH_CHILD = """
child(f"child {index}")
note(f"worker {index}")
time.sleep(600)
"""
ALL = ["worker 0", "worker 1", "child 0", "child 1"]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_to_the_launcher_ends_workers_and_their_children(launcher, number, status):
    launcher.start_workers(WITH_CHILD)
    numbers = launcher.numbers(*ALL)
    assert not any(map(gone, numbers))
    launcher.process.send_signal(number)
    found, _, errors = launcher.finish()
    assert found == status
    assert errors[-1] == f"local_cluster: received {number.name}; stopped the workers"
    wait_until(lambda: all(map(gone, numbers)))


def test_further_signals_do_not_shorten_the_grace_period(launcher):
    code = """
def end(*_):
    note("ending")
    wait_for("go on")
    print("saved")
    sys.exit(0)

signal.signal(signal.SIGTERM, end)
note("ready")
time.sleep(600)
"""
    launcher.start_workers(code, workers=1)
    launcher.numbers("ready")
    launcher.process.send_signal(signal.SIGINT)
    launcher.numbers("ending")
    launcher.process.send_signal(signal.SIGINT)
    launcher.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)  # time for a wrong launcher to kill the worker
    (launcher.folder / "go on").touch()
    status, output, _ = launcher.finish()
    assert (status, output) == (130, ["[worker 0] saved"])


def test_nohup_is_respected(launcher):
    launcher.start_workers(
        "note('ready'); time.sleep(600)",
        workers=1,
        before=["sh", "-c", 'trap "" HUP; exec "$@"', "sh"],
    )
    launcher.numbers("ready")
    launcher.process.send_signal(signal.SIGHUP)
    launcher.process.send_signal(signal.SIGTERM)  # has the higher number, so it is seen second
    assert launcher.finish()[0] == 143


def test_a_worker_that_succeeds_leaves_no_children(launcher):
    """Not even while others run. The output that children hold open does not delay the launcher."""
    launcher.start_workers("child('child') if index else wait_for('go on')")
    numbers = launcher.numbers("child")
    wait_until(lambda: gone(numbers[0]))
    (launcher.folder / "go on").touch()
    assert launcher.finish()[0] == 0


needs_proc = pytest.mark.skipif(
    not pathlib.Path("/proc/self/environ").exists(), reason="needs a /proc to find processes in"
)


@needs_proc
def test_a_process_that_left_its_session_is_killed_and_named(launcher):
    code = "child('child', start_new_session=True); print('last', end='')"
    launcher.start_workers(code, workers=1)
    (number,) = launcher.numbers("child")
    status, output, errors = launcher.finish()
    assert (status, output) == (0, ["[worker 0] last"])
    assert errors[0] == f"local_cluster: killed what worker 0 left behind: sleep, process {number}"
    wait_until(lambda: gone(number))


def test_a_process_that_cannot_be_found_does_not_delay_the_launcher(launcher):
    code = "child('child', start_new_session=True, env={}); print('last', end='')"
    launcher.start_workers(code, workers=1)
    (number,) = launcher.numbers("child")
    try:
        status, output, _ = launcher.finish()
    finally:
        os.kill(number, signal.SIGKILL)
    assert (status, output) == (0, ["[worker 0] last"])


def test_killing_the_launcher_ends_its_workers(launcher):
    launcher.start_workers("signal.signal(signal.SIGTERM, signal.SIG_IGN)" + WITH_CHILD)
    numbers = launcher.numbers(*ALL)
    launcher.process.kill()
    wait_until(lambda: all(map(gone, numbers)))


@needs_proc
def test_killing_the_launcher_ends_processes_that_left_their_session(launcher):
    code = WITH_CHILD.replace('child {index}")', 'child {index}", start_new_session=True)')
    launcher.start_workers(code)
    numbers = launcher.numbers(*ALL)
    launcher.process.kill()
    wait_until(lambda: all(map(gone, numbers)))


# The first 40 kB always fit into a worker's pipe. Those of both workers do not fit into the
# launcher's single pipe, so once both have left their process IDs, the launcher is bound to block.
FLOOD = """
for line in range(40):
    print("x" * 1000)
note(f"worker {index}")
while True:
    print("x" * 1000)
"""


def test_workers_are_stopped_while_their_output_is_not_read(launcher):
    launcher.start_workers(FLOOD)
    numbers = launcher.numbers("worker 0", "worker 1")
    launcher.process.send_signal(signal.SIGTERM)
    wait_until(lambda: all(map(gone, numbers)))
    assert launcher.process.poll() is None  # it still has lines to write
    status, output, _ = launcher.finish()
    assert status == 143
    assert output


def test_a_blocked_launcher_can_be_interrupted(launcher):
    launcher.start_workers(FLOOD)
    numbers = launcher.numbers("worker 0", "worker 1")
    launcher.process.send_signal(signal.SIGTERM)
    wait_until(lambda: all(map(gone, numbers)))

    def said():
        return select.select([launcher.process.stderr], [], [], 0.2)[0]

    assert not said()
    # The first signal may come too early: the launcher may not know yet that the workers ended.
    wait_until(lambda: launcher.process.send_signal(signal.SIGINT) or said())
    assert launcher.process.wait(PATIENCE) == 143


def test_workers_are_stopped_when_the_reader_leaves(launcher):
    launcher.start_workers(FLOOD)
    numbers = launcher.numbers("worker 0", "worker 1")
    launcher.process.stdout.close()
    status, _, errors = launcher.finish()
    assert status == 141
    assert errors[-1] == "local_cluster: received SIGPIPE; stopped the workers"
    wait_until(lambda: all(map(gone, numbers)))


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers=0", "--", "true"], "--workers must be at least 1. Received: 0"),
        (["--workers=two", "--", "true"], "flag --workers=two: .*"),
        (["--grace_seconds=-1", "--", "true"], "--grace_seconds must be at least 0. Received: -1"),
        (["--grace_seconds=nan", "--", "true"], "--grace_seconds must be a finite number. .* nan"),
        (["--worker=1", "--", "true"], "Unknown command line flag 'worker'.*"),
        (["true"], "unknown argument true; the command comes after --"),
        ([], "no command was given; it comes last, after --"),
        (["--workers=1", "--"], "no command was given; .*"),
        (["--", "./not_here"], "cannot start ./not_here: No such file or directory"),
        (["--", "."], "cannot start .: Permission denied"),
    ],
)
def test_a_command_that_cannot_start_gives_a_one_line_error(launcher, arguments, message):
    launcher.start(*arguments)
    status, output, errors = launcher.finish()
    assert (status, output, len(errors)) == (1, [], 1)
    assert re.fullmatch(f"error: {message}", errors[0])


def test_arguments_after_the_dashes_belong_to_the_command(launcher):
    command = ["--workers=7", "--", "--help", "--flagfile=x"]
    code = "import sys; print(sys.argv[1:])"
    launcher.start("--workers=1", "--", sys.executable, "-c", code, *command)
    status, output, _ = launcher.finish()
    assert (status, output) == (0, [f"[worker 0] {command}"])


def test_the_launcher_imports_neither_keras_nor_tensorflow():
    code = "import sys, benchmarks.local_cluster; print({'keras', 'tensorflow'} & {*sys.modules})"
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert printed.stdout.strip() == "set()"


# --- called from Python ---------------------------------------------------------------------------


def test_run_restores_signal_handlers_and_file_descriptors(capfd):
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    handlers = [signal.getsignal(number) for number in numbers]

    def descriptors():
        found = []
        for number in range(1024):
            try:
                fcntl.fcntl(number, fcntl.F_GETFD)
                found.append(number)
            except OSError:
                pass
        return found

    before = descriptors()
    assert local_cluster.run(["sh", "-c", "echo here; exit 3"], 1) == 3
    assert capfd.readouterr().out == "[worker 0] here\n"
    assert [signal.getsignal(number) for number in numbers] == handlers
    assert descriptors() == before


def test_run_checks_its_arguments():
    with pytest.raises(UsageError, match="--workers"):
        local_cluster.run(["true"], 0)
    with pytest.raises(UsageError, match="no command"):
        local_cluster.run([], 1)
