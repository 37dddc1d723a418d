"""Experiments of the paper: their runs, their result files, and drawing from a result file."""

import csv
import dataclasses
import math
import pathlib
import subprocess
import sys
from unittest import mock

import keras
import pytest
from support.helpers import environment, run_command
from support.paper_experiments import NAMES, find

pytest.importorskip("sklearn", reason="the extra `benchmarks` is not installed")
pytest.importorskip("matplotlib", reason="the extra `benchmarks` is not installed")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the benchmarks run on TensorFlow", allow_module_level=True)

from benchmarks import files, models, recipes, run_folder
from benchmarks.data import digits
from benchmarks.experiments import results
from benchmarks.experiments.ablations import TITLES
from benchmarks.experiments.norm_ratios import first_update, table_2
from benchmarks.experiments.paper import experiment
from benchmarks.experiments.paper.experiment import PRESETS
from benchmarks.experiments.sweep import Sweep
from benchmarks.plan import make_plan
from benchmarks.recipe import Execution, RecipeError

EXPERIMENTS = {name: find(name) for name in NAMES}
# All combinations of (experiment, ablation, network).
ALL = [
    (name, ablation, model)
    for name in EXPERIMENTS
    for ablation in (TITLES if name == "ablations" else [""])
    for model in PRESETS[ablation or name, "full"]
]
IDS = ["-".join(filter(None, parts)) for parts in ALL]


def asked(name, ablation="", model="alexnet_bn", data="imagenet2012", **more):
    more |= {"ablation": ablation} if ablation else {}
    return EXPERIMENTS[name](data=data, model=model, **more)


def runs(name, *what, **more):
    return asked(name, *what, **more).runs({})


def fake_train(recipe, execution):
    """Write the files of a training. SGD at a large rate diverges."""
    folder = pathlib.Path(execution.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    micro = execution.micro_batch_size
    config = {"recipe": dataclasses.asdict(recipe), "micro_batch_size": micro}
    config |= {"versions": {"keras": "3"}, "device": {"cores": 2}}
    files.write_json(folder / "config.json", config)
    diverged = recipe.optimizer == "sgd" and recipe.learning_rate > 0.25
    epochs = 2 if diverged else recipe.epochs
    curve = [1 - 1 / (epoch + 2 + recipe.seed / 1e5) for epoch in range(epochs)]
    names = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    history = dict.fromkeys((*names, "train_loss", "train_accuracy"), curve)
    if diverged:
        history["val_loss"] = [*curve[:-1], None]
    files.write_json(folder / "history.json", history)
    columns = ["update", "epoch", "variable", *results.NORMS, "learning_rate"]
    variables = [*table_2().index, "stem/kernel"]
    run_folder.write_table(
        folder / "trust_ratios.csv",
        columns,
        [
            dict(zip(columns, (update, update / 10, name, 2.0, 1 / 3, 0.001 / update, 1.0)))
            for update in range(1, 300 if recipe.data == "digits" else 4)
            for name in variables
        ],
    )
    result = {
        "validation_accuracy": curve[-1],
        "epochs": epochs,
        "updates": 20,
        "diverged": diverged,
        "diverged_at_update": 20 if diverged else None,
        "seconds": 1.5,
    }
    files.write_json(folder / "result.json", result)
    return result


def found(name, folder, ablation="", model="alexnet_bn", data="fashion_mnist", layers=""):
    """Results of made-up trainings. No data set is read."""
    one = asked(name, ablation, model, data, **({"layers": layers} if layers else {}))
    for run in one.runs({}):
        fake_train(run.settings, one.execution(run, folder))
    with mock.patch.object(type(one), "check", return_value=1):  # it would read the data set
        return results.as_json(Sweep(one, folder).found())


# --- what is trained ------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "ablation", "model"), ALL, ids=IDS)
def test_on_imagenet_runs_with_a_row_have_the_recipe_of_the_row(name, ablation, model):
    """A published number is shown only for exactly the recipe of its row."""
    chosen = runs(name, ablation, model)
    known = [one for one in chosen if one.row]
    assert known
    for one in known:
        row = recipes.find(one.row)
        assert one.settings == row.recipe
        assert (one.published, one.source) == (row.published, row.source)
    assert all(one.published is None for one in chosen if not one.row)


EXPECTED = {
    "local_learning_rate": ["alexnet_bn_lars_512", "alexnet_bn_lars_4096", "alexnet_bn_lars_8192"],
    "accuracy_by_epoch": [
        "alexnet_bn_sgd_512_0.02",
        "alexnet_bn_sgd_8192_0.3",
        "alexnet_bn_lars_512",
        "alexnet_bn_lars_8192",
    ],
    "generalization_gap": ["alexnet_bn_sgd_512_0.02", "alexnet_bn_sgd_8192_0.3"],
    "norm_ratios": ["alexnet_bn_lars_512"],
}


@pytest.mark.parametrize("name", list(EXPECTED))
def test_rows_of_an_experiment(name):
    assert [one.row for one in runs(name)] == EXPECTED[name]


def test_rows_of_figure_5():
    names = [one.row for one in runs("accuracy_by_epoch", model="resnet50")]
    assert names == [
        "resnet50_sgd_256",
        *(f"resnet50_lars_{batch}" for batch in (256, 8192, 16384, 32768)),
    ]


def test_sgd_has_all_rates_of_table_1_and_lars_has_rates_around_its_row():
    chosen = runs("accuracy_by_learning_rate", model="alexnet")
    sgd = [one for one in chosen if one.settings.optimizer == "sgd"]
    assert [one.published for one in sgd] == [53.0, 53.1, 51.6, 0.1, 29.8, 44.8, 43.1, 0.1]
    lars = [
        (o.settings.learning_rate, o.published) for o in chosen if o.settings.optimizer == "lars"
    ]
    assert lars == [(5.0, None), (10.0, 58.2), (14.0, None), (20.0, None)]


def test_linear_scaling_starts_from_the_row_of_the_smallest_batch():
    chosen = [o for o in runs("accuracy_by_batch_size") if o.settings.optimizer == "sgd"]
    rates = {one.settings.global_batch_size: one.settings.learning_rate for one in chosen}
    assert rates == {512: 0.02, 4096: 0.16, 8192: 0.32, 16384: 0.64, 32768: 1.28}
    assert [one.settings.warmup_epochs for one in chosen] == [0.0, 5.0, 5.0, 5.0, 5.0]
    assert [one.row for one in chosen] == ["alexnet_bn_sgd_512_0.02", "", "", "", ""]
    # As in the rows of LARS: eight GPUs, and at most 8,192 images at once.
    assert [one.settings.virtual_batch_size for one in chosen] == [64, 512, 1024, 1024, 1024]


@pytest.mark.parametrize(
    ("model", "accuracies"),
    [
        ("alexnet", [55.0, 55.9, 56.7, 57.3, 58.2]),
        ("alexnet_bn", [57.8, 59.2, 59.5, 59.5, 59.9]),
        ("resnet50", [74.4, 74.1, 74.6, 74.8, 75.5]),
    ],
)
def test_table_5(model, accuracies):
    chosen = runs("ablations", "longer", model)
    assert [one.settings.epochs for one in chosen] == [100, 125, 150, 175, 200]
    assert [one.published for one in chosen] == accuracies


def test_variants_of_the_ablations():
    warmup = [one.settings for one in runs("ablations", "warmup")]
    assert [(r.optimizer, r.warmup_epochs) for r in warmup] == [
        ("sgd", 5.0),
        ("sgd", 0.0),
        ("lars", 5.0),
        ("lars", 0.0),
    ]
    excluded = [one.settings for one in runs("ablations", "exclusions")]
    kinds = {(r.exclude_from_weight_decay, r.exclude_from_layer_adaptation) for r in excluded}
    assert len(kinds) == len(excluded) == 4
    forms = [one.settings.momentum_form for one in runs("ablations", "momentum_form")]
    assert forms == ["classic", "learning_rate_outside", "ratio_outside"]


@pytest.mark.parametrize(("name", "ablation", "model"), ALL, ids=IDS)
def test_all_scaled_down_runs_can_be_trained(name, ablation, model):
    """On the digits, which are always available. A plan is made for the last run of each."""
    chosen = runs(name, ablation, model, data="digits")
    assert len({one.name for one in chosen}) == len(chosen)
    loaded = digits.load()
    for one in chosen:
        assert one.settings.data == "digits"
        assert one.settings.global_batch_size <= loaded.train_images
        assert one.settings.warmup_epochs < one.settings.epochs
    make_plan(chosen[-1].settings, Execution())


def test_flags_change_the_runs():
    asked = {"epochs": 3, "seeds": (4, 5), "width": 0.5, "image_size": 10, "batches": (2048,)}
    chosen = runs("accuracy_by_epoch", data="fashion_mnist", **asked)
    assert [(o.settings.optimizer, o.settings.seed) for o in chosen] == [
        ("sgd", 4),
        ("sgd", 5),
        ("lars", 4),
        ("lars", 5),
    ]
    for one in chosen:
        recipe = one.settings
        assert (recipe.epochs, recipe.width, recipe.image_size) == (3, 0.5, 10)
        assert recipe.global_batch_size == 2048
    assert chosen[-1].settings.warmup_epochs == pytest.approx(0.15)  # still a twentieth
    rates = runs("accuracy_by_learning_rate", data="digits", learning_rates=(2.0, 1.0))
    assert [one.settings.learning_rate for one in rates] == [1.0, 2.0] * 2
    # A changed recipe no longer counts as the row.
    assert {one.row for one in runs("accuracy_by_epoch", epochs=3)} == {""}
    assert {one.row for one in runs("accuracy_by_epoch", width=0.5)} == {""}


def test_batches_of_no_row_are_refused():
    with pytest.raises(RecipeError, match=r"--batches must be .* 128, .*, 8192.* Received: 100$"):
        runs("accuracy_by_epoch", data="fashion_mnist", batches=(100,))
    with pytest.raises(RecipeError, match=r"--batches must be batches of table 5"):
        runs("ablations", "longer", batches=(512,))


# --- table 2 --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_names_in_table_2_are_corrected():
    """Weights have the norm of weights, such as 96 x 363 numbers of standard deviation 0.01."""
    norms = table_2()
    model = models.build("alexnet_bn", (227, 227, 3), 1000)
    assert list(norms.index) == [weight.path for weight in model.trainable_weights]
    for weight in model.trainable_weights:
        norm = math.sqrt(float(keras.ops.sum(keras.ops.square(weight))))
        assert norms.loc[weight.path, "weight_norm"] == pytest.approx(norm, rel=0.01), weight.path
    assert norms.loc["conv1/kernel", "ratio"] == 8.48
    assert norms.loc["fc6/bias", "ratio"] == 1345


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:After .* of the initial moving statistics")
def test_norms_at_the_first_update(tmp_path):
    """Micro-batches give the same update, and the gradient is that of the loss alone."""
    recipe = recipes.override(
        model="alexnet_tiny", width=1.0, epochs=1, warmup_epochs=0.0, weight_norm_floor=0.0
    )
    columns = {}
    for micro in (0, 16):
        folder = tmp_path / str(micro)
        execution = Execution(output_dir=str(folder), micro_batch_size=micro, resume=True)
        recipe = dataclasses.replace(recipe, virtual_batch_size=16)
        result = first_update(recipe, execution)
        assert (result["updates"], result["diverged"]) == (1, False)
        read = run_folder.read_table(folder / "trust_ratios.csv")
        assert {row["update"] for row in read} == {1}
        columns[micro] = {row["variable"]: row for row in read}
        assert run_folder.result(folder) == result
    for variable, row in columns[0].items():
        assert row["gradient_norm"] == pytest.approx(
            columns[16][variable]["gradient_norm"], rel=1e-3
        )
        decay = 0 if variable.endswith("bias") else recipe.weight_decay
        ratio = row["weight_norm"] / (row["gradient_norm"] + decay * row["weight_norm"])
        assert row["trust_ratio"] == pytest.approx(recipe.trust_coefficient * ratio, rel=1e-4)


def test_ratios_need_lars(tmp_path):
    with pytest.raises(RecipeError, match="--optimizer must be lars"):
        first_update(recipes.override("digits_sgd"), Execution(output_dir=str(tmp_path)))


def test_norms_as_a_table(tmp_path):
    text = EXPERIMENTS["norm_ratios"].table(found("norm_ratios", tmp_path))
    (line,) = [line for line in text.splitlines() if "| conv1/kernel " in line]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["conv1/kernel", "128", "0", "2", "0.333", "6", "1.86", "0.22", "8.48"]
    assert "names of weights and biases swapped" in text


# --- results --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_results_hold_everything_that_is_drawn(tmp_path):
    found_here = found("local_learning_rate", tmp_path, data="digits", layers="^conv1/")
    one, *_ = found_here["rows"]
    assert found_here["experiment"] == "local_learning_rate"
    assert found_here["environments"] == [{"versions": {"keras": "3"}, "device": {"cores": 2}}]
    assert found_here["planned"] == len(found_here["rows"]) == 3
    assert one["settings"] == dataclasses.asdict(
        runs("local_learning_rate", data="digits")[0].settings
    )
    assert one["history"]["val_accuracy"][1] == 0.66667  # five digits
    assert list(one["norms"]) == ["conv1/kernel", "conv1/bias"]
    norms = one["norms"]["conv1/bias"]
    assert len(norms["epoch"]) <= experiment.RECORDS
    assert norms["epoch"][:2] == [0.1, 0.3]  # every second record, from the first
    assert norms["gradient_norm"][0] == 0.33333
    with pytest.raises(RecipeError, match=r"--layers must match one of conv1/kernel, .*: nothing$"):
        found("local_learning_rate", tmp_path, data="digits", layers="nothing")


def test_files_of_results(tmp_path):
    found_here = found("accuracy_by_batch_size", tmp_path)
    for row in found_here["rows"]:
        row["norms"] = {}  # this experiment records none
    results.write(tmp_path / "results.json", found_here)
    path = tmp_path / "results.json"
    assert results.read(path, "--show", "accuracy_by_batch_size") == found_here
    with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert len(read) == len(found_here["rows"])
    (diverged, *_) = [row for row in read if row["name"] == "sgd-batch_4096-seed0"]
    assert (diverged["diverged"], diverged["diverged_at_update"]) == ("True", "20")
    assert (diverged["global_batch_size"], diverged["published"]) == ("4096", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "results.csv",
        "results.json",
        "runs",
    ]


OTHER = '{"experiment": "other", "settings": {}, "environments": [], "planned": 0, "rows": []}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--show cannot be read: No such file"),
        ("[", "--show must be a result file .*. Received"),
        ("[]", "--show must be a result file. Received"),
        ("{}", "--show must be results of ablations. Received: .*, without settings"),
        (OTHER, "must be results of ablations. Received: .*, of other"),
        ('{"experiment": "ablations"}', "must be results of ablations. Received: .*, without"),
    ],
    ids=["missing", "cut off", "list", "empty", "other", "incomplete"],
)
def test_a_file_that_is_not_a_result_file(content, message, tmp_path):
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(RecipeError, match=message):
        results.read(path, "--show", "ablations")


def test_a_table_shows_range_and_divergence(tmp_path):
    text = EXPERIMENTS["accuracy_by_epoch"].table(found("accuracy_by_epoch", tmp_path))
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert ["SGD", "2048", "0.3", "0", "6", "2", "diverged at update 20, 20", "58"] in lines
    (lars,) = [line for line in lines if line[:2] == ["LARS", "128"]]
    assert lars[-2:] == ["85.7 (85.7 to 85.7)", "60.2"]
    assert lines[-1] == [
        "Published: arXiv 1708.03888, table 1; openreview rJ4uaX2aW; arXiv 1708.03888, table 3."
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ablation", "model"),
    [one for one in ALL if one[2] != "alexnet"],
    ids=[name for name, one in zip(IDS, ALL) if one[2] != "alexnet"],
)
def test_each_experiment_draws(name, ablation, model, tmp_path):
    kind = EXPERIMENTS[name]
    # Published numbers of single points are drawn only for the paper's own data.
    data = "imagenet2012" if name in ("accuracy_by_epoch", "accuracy_by_learning_rate") else None
    layers = "^(conv1|stem)/" if name == "local_learning_rate" else ""
    found_here = found(name, tmp_path, ablation, model, data or "fashion_mnist", layers=layers)
    kind.plot(found_here, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert kind.table(found_here).startswith("| ")
    assert len(results.flat(found_here))


# --- commands -------------------------------------------------------------------------------------


def command(name, *arguments):
    return run_command(f"benchmarks.experiments.{name}", *arguments)


REDRAW = """
import sys
from benchmarks.experiments.generalization_gap import GeneralizationGap
try:
    GeneralizationGap.main()
except SystemExit as end:
    assert end.code == 0, end.code
print([name for name in ("tensorflow", "keras", "jax", "torch") if name in sys.modules])
"""


@pytest.mark.slow
def test_show_draws_again_without_a_framework(tmp_path):
    found_here = found("generalization_gap", tmp_path)
    results.write(tmp_path / "results.json", found_here)
    arguments = [f"--show={tmp_path / 'results.json'}", f"--plot={tmp_path / 'again.png'}"]
    done = subprocess.run(
        [sys.executable, "-c", REDRAW, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    names = [cell.strip() for cell in first.split("|")]
    assert names[1:4] == ["batch", "seeds", "loss on training images"]
    assert last == "[]"
    assert (tmp_path / "again.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "figure.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("accuracy_by_epoch", ["--data=cats"], "--data=cats"),
        ("accuracy_by_epoch", ["--learning_rates=1"], "Unknown command line flag"),
        (
            "accuracy_by_epoch",
            ["--seeds=0,a"],
            "--seeds must be integers separated by commas.",
        ),
        ("local_learning_rate", ["--layers=("], "--layers must be a regular expression"),
        ("ablations", ["--ablation=longer", "--epochs=3"], "--epochs must not be given with"),
    ],
    ids=["data", "flag", "seeds", "layers", "epochs"],
)
def test_wrong_flags_give_a_one_line_error(name, arguments, message):
    done = command(name, *arguments)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr


def test_a_dry_run_lists_the_runs():
    done = command("accuracy_by_epoch", "--dry_run", "--data=imagenet2012")
    assert done.returncode == 0, done.stderr
    assert "| lars-batch_8192-seed1 " in done.stdout


@pytest.mark.slow
def test_a_command_leaves_its_files(tmp_path):
    arguments = ["--data=digits", f"--output_dir={tmp_path}"]
    done = command("norm_ratios", *arguments)
    assert done.returncode == 0, done.stderr
    assert "1 training run, 0 done, 8 images to train on" in done.stdout
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["figure.png", "results.csv", "results.json", "runs"]
    again = command("norm_ratios", *arguments)
    assert "1 training run, 1 done" in again.stdout
