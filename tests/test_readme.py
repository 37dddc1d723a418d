"""What README tells people to run is run, on a small network where that is all that matters."""

import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from helpers import environment

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")

from benchmarks import recipes

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.split("## Several GPUs, several machines\n")[1].split("\n## ")[0]
(SCRIPT,) = re.findall(
    r"<!-- a training on several machines -->\n```python\n(.+?)```", SECTION, re.S
)
(COMMANDS,) = re.findall(r"```bash\n(.+?)```", SECTION, re.S)
TINY = ["--model=resnet_tiny", "--width=0.125", "--epochs=2", "--warmup_epochs=1"]


def run(command, folder):
    """A command of README, by this Python, in a folder of its own."""
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    words += TINY if "benchmarks.train" in words else []
    done = subprocess.run(
        words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("command", COMMANDS.splitlines())
def test_the_commands_of_several_machines_run(command, tmp_path):
    (tmp_path / "training.py").write_text(SCRIPT, encoding="utf-8")
    output = run(command, tmp_path)
    if "benchmarks.train" in command:
        assert len(re.findall("of the held-out images right after 44 updates", output)) == 1
        assert len(list(tmp_path.glob("runs/*/result.json"))) == 1
    else:
        epochs = {line for line in output.splitlines() if re.search(r"Epoch \d", line)}
        assert epochs == {f"[worker {i}] Epoch {n}/4" for i in range(2) for n in range(1, 5)}
        assert not (tmp_path / "backup").exists()  # all is done


@pytest.mark.parametrize("name", ["README.md", "benchmarks/README.md"])
def test_commands_name_what_is_there(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    commands = re.findall(r"python -m (benchmarks[\w.]*)(?<!\.)((?: --[^ `\n]+)*)", text)
    assert commands
    for module, flags in commands:
        if not module.endswith(".NAME"):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
        for recipe in re.findall(r"--recipe=(\w+)", flags):
            if recipe != "NAME":
                assert recipes.find(recipe).recipe is not None
