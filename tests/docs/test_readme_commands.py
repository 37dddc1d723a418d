"""Every command on the pages is run by a test. If that is impossible, its flags are checked."""

import ast
import json
import re
import shlex
import subprocess

import pytest
from support import TESTS, pages, paper_experiments
from support.helpers import run_command

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")

from benchmarks import recipes
from keras_lars import _backends

pytestmark = [pytest.mark.processes, pytest.mark.docs]

# The test that runs each line of a bash block. Folders and the size of the training may differ.
# `*` at the end of a key stands for any end.
SEVERAL_MACHINES = "test_readme::test_the_commands_of_several_machines_run"
RUN = {
    "python training.py": "test_readme::test_blocks_run",
    "python -m benchmarks.local_cluster --workers=2 -- python training.py": SEVERAL_MACHINES,
    "python -m benchmarks.local_cluster --workers=2 -- python -m benchmarks.train "
    "--strategy=multi_worker": SEVERAL_MACHINES,
    "python -m benchmarks.train --strategy=mirrored --replicas=2": SEVERAL_MACHINES,
    "python -m benchmarks.data.fake_imagenet *": "test_imagenet::test_the_fake_folder",
    "python -m benchmarks.speed.accelerator": "test_speed_accelerator::test_a_quick_run_on_the_cpu",
    "python -m benchmarks.speed.input *": "test_speed_input::test_each_part_is_measured",
    "python -m benchmarks.train --seed=$seed *": (
        "test_training_loop::test_the_same_seed_repeats_exactly"
    ),
    "python -m benchmarks.collect *": "test_benchmarks::test_collect",
}
HOURS = "trains for hours; smaller: test_batch_size::test_a_training"
TINY = "test_default_experiments::test_experiments_over_seeds_scaled_down"
MINUTES = "takes minutes: its runs are listed here, and test_sweep.py trains smaller ones"
# Why no test runs a line. Its flags are checked all the same.
NOT_RUN = {
    "export TF_CONFIG=*": "names no real machines; read by "
    "test_readme::test_the_example_of_tf_config_is_read",
    'pip install ".[tensorflow,benchmarks]" && python -m benchmarks.train': (
        "needs the network; shortened: test_benchmarks::test_it_learns"
    ),
    'pip install ".[tensorflow,benchmarks,tests]" && cd tests && *': "is the test command",
    'pip install "keras-lars[tensorflow] @ file:///path/to/this/clone"': "names no real folder",
    'pip install ".[tensorflow,benchmarks,peers]" && *': (
        "needs the network; shortened: test_speed_update::test_a_quick_run_and_showing_its_results"
    ),
    'pip install ".[tensorflow,report]" && python -m keras_lars.report run': (
        "needs the network; on a record: test_report::test_the_command_prints_the_path_of_the_page"
    ),
    "python -c 'import tensorflow_datasets as tfds; *": (
        "needs the network; on made-up data: test_data_sets::test_prepared_by_tensorflow_datasets"
    ),
    "python -m benchmarks.experiments.batch_size *": HOURS,
    "python -m benchmarks.experiments.first_try *": "trains for minutes; smaller: " + TINY,
    "python -m benchmarks.experiments.fine_tuning *": "trains for minutes; smaller: " + TINY,
    "python -m benchmarks.experiments.learning_rate_choice *": "trains for long; smaller: " + TINY,
    "python -m benchmarks.experiments.noise_scale *": (
        "trains for hours; smaller: test_noise_scale_experiment::test_the_experiment_scaled_down"
    ),
    "python -m benchmarks.experiments.linear_probe *": "trains for minutes; smaller: " + TINY,
    **{f"python -m benchmarks.experiments.{name}*": MINUTES for name in paper_experiments.NAMES},
}

# Placeholders in commands, and values for them.
PLACES = {"$seed": "0"}


def lines():
    """The lines of all bash blocks, without the words of a loop around them.

    Scripts are left out. `test_clusters_page.py` checks the only one.
    """
    found = []
    for block in pages.blocks("bash"):
        if block.text.startswith("#!"):
            continue
        text = block.text.replace("\\\n", " ")
        stripped = [line.strip() for line in text.splitlines()]
        found += [
            s for s in stripped if s and not re.fullmatch(r"for \w+ in [^;]+; do|done|#.*", s)
        ]
    return found


def rows_for(line):
    return [
        key
        for key in [*RUN, *NOT_RUN]
        if line == key or (key.endswith("*") and line.startswith(key[:-1]))
    ]


def commands():
    """All commands `python -m MODULE ARGUMENTS`, in blocks and in sentences, as tuples of words.

    Commands that a result records with its date are left out: they ran on other machines.
    """
    skipped = re.compile(r"```.*?```|^- \d{4}-\d\d-\d\d [^\n]*", re.S | re.M)
    inline = [
        " ".join(code.split())
        for page in pages.PAGES
        for code in re.findall(r"`([^`]*)`", skipped.sub("", pages.read(page)))
    ]
    found = []
    for line in [*lines(), *inline]:
        for place, value in PLACES.items():
            line = line.replace(place, value)
        for part in re.split(r"(?=\bpython -m )", line):
            if re.match(r"python -m (benchmarks|keras_lars)\b", part):
                module, *arguments = shlex.split(part)[2:]
                arguments = [word for word in arguments if not word.startswith("--help")]
                modules = [module.replace("NAME", name) for name in paper_experiments.NAMES]
                found += [(module, *arguments) for module in dict.fromkeys(modules)]
    return list(dict.fromkeys(found))


def setup_argument(name):
    tree = ast.parse((pages.ROOT / "setup.py").read_text(encoding="utf-8"))
    (value,) = (
        node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == name
    )
    return ast.literal_eval(value)


@pytest.mark.parametrize("line", dict.fromkeys(lines()))
def test_a_line_is_run_or_says_why_not(line):
    assert len(rows_for(line)) == 1


def test_the_tables_name_lines_and_tests_that_exist():
    assert {row for line in lines() for row in rows_for(line)} == {*RUN, *NOT_RUN}
    named = re.findall(r"test_\w+::test_\w+", " ".join([*RUN.values(), *NOT_RUN.values()]))
    assert len(named) > len(RUN)
    for name in named:
        file, test = name.split("::")
        assert f"\ndef {test}(" in next(TESTS.rglob(f"{file}.py")).read_text(encoding="utf-8"), name


def test_flags_exist_and_accept_their_values():
    asked = commands()
    assert ("benchmarks.train", "--strategy=multi_worker") in asked
    assert ("benchmarks.experiments.norm_ratios", "--data=fashion_mnist") in asked
    done = run_command("support.flags_script", json.dumps(asked))
    assert done.returncode == 0, done.stderr[-4000:]
    faults = json.loads(done.stdout)
    assert len(faults) == len(asked)
    assert {" ".join(c): f for c, f in zip(asked, faults, strict=True) if f} == {}


def test_recipes_exist():
    names = [
        name
        for page in pages.PAGES
        for name in re.findall(r"--recipe=(\w+)", pages.read(page))
        if name != "NAME"
    ]
    assert names
    for name in names:
        assert recipes.find(name).recipe is not None


def test_pip_installs_this_package_with_extras_that_exist():
    installs = [
        requirement
        for page in pages.PAGES
        for requirement in re.findall(r'pip install "([^"]+)"', pages.read(page))
    ]
    assert installs
    for requirement in installs:
        name, extras = re.fullmatch(r"([^\[]+)\[([\w,]+)\](?: @ file:.*)?", requirement).groups()
        assert name in (".", setup_argument("name"))
        assert set(extras.split(",")) <= setup_argument("extras_require").keys()


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_the_oldest_versions_are_those_of_setup(backend):
    """Only setup.py defines them. The scripts of `.ci` read it, and the pages state them."""
    script = "source .ci/oldest_environment; lower_bound 'python_requires=\"'; oldest_packages"
    done = subprocess.run(
        ["bash", "-euc", f"{script} {backend}"],
        cwd=pages.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    extras = setup_argument("extras_require")[backend]
    required = [*setup_argument("install_requires"), *extras]
    bounds = dict(re.findall(r"(keras|tensorflow|jax|torch)>=([\d.]+)", " ".join(required)))
    python = setup_argument("python_requires").removeprefix(">=")
    packages = [f"{name}=={version}" for name, version in bounds.items()]
    assert done.stdout.split() == [python, *packages]
    names = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
    told = f"Python {python}, Keras {bounds['keras']}.0 and {names[backend]} {bounds[backend]}.0"
    page = "README.md" if backend == "tensorflow" else "docs/numerics.md"
    assert told in pages.on_one_line(page)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_versions_older_than_those_of_setup_are_refused(backend):
    (requirement,) = setup_argument("extras_require")[backend]
    major, minor = map(int, requirement.removeprefix(f"{backend}>=").split("."))
    oldest = f"{major}.{minor}"
    for version in (f"{oldest}.0", f"{oldest}.1+cpu", f"{major}.{minor + 7}.0", "10.1.dev20270101"):
        _backends._refuse_old(backend, version)
    version = f"{major}.{minor - 1}.12"
    told = f"keras_lars needs {backend} {oldest} or later. Received: {version}"
    with pytest.raises(ImportError, match=f"^{re.escape(told)}$"):
        _backends._refuse_old(backend, version)
