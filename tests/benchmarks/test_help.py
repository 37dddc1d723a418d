"""`--helpshort` of every command shows its flags."""

import json
import re

import pytest
from support.commands import commands
from support.helpers import run_command

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")

# A flag that each of these commands must have. All others have --data.
AMONG = {
    "benchmarks.train": "recipe",
    "benchmarks.local_cluster": "workers",
    "benchmarks.speed.accelerator": "device",
    "benchmarks.speed.input": "output",
    "benchmarks.speed.launches": "compiler",
    "benchmarks.speed.step": "show",
    "benchmarks.speed.update": "contenders",
    "benchmarks.collect": "output",
    "benchmarks.write_pages": "check",
    "benchmarks.data.fake_imagenet": "images",
    "benchmarks.experiments.batch_size": "size",
    "benchmarks.experiments.fine_tuning": "seeds",
    "benchmarks.experiments.first_try": "seeds",
    "benchmarks.experiments.learning_rate_choice": "seeds",
    "benchmarks.experiments.linear_probe": "seeds",
    "benchmarks.experiments.noise_scale": "processes",
    "benchmarks.experiments.ablations": "ablation",
    "benchmarks.experiments.accuracy_by_learning_rate": "learning_rates",
    "benchmarks.experiments.local_learning_rate": "layers",
}


def test_helpshort_of_every_command_shows_its_flags():
    names = commands()
    assert set(AMONG) < set(names)
    assert len([name for name in names if name.startswith("benchmarks.experiments.")]) == 13
    done = run_command("support.help_script", json.dumps(names))
    assert done.returncode == 0, done.stderr[-4000:]
    answers = json.loads(done.stdout)
    for name in names:
        said, defined = answers[name]["said"], answers[name]["flags"]
        assert defined, name
        assert AMONG.get(name, "data") in defined
        for flag in defined:
            assert re.search(rf"^  --(\[no\])?{flag}: ", said, re.MULTILINE), (name, flag)
        assert said.count("\n  --") == len(defined), name  # and no others
