"""The results of a study as one small file: every training a row."""

import dataclasses
import math

from benchmarks.recipe import RecipeError
from benchmarks.studies.batch_size.arms import BY_NAME, Arm
from benchmarks.studies.batch_size.forms import Form
from benchmarks.studies.batch_size.images import CLASSES
from benchmarks.studies.batch_size.runs import Run, Study
from benchmarks.studies.batch_size.training import Training

# The loss of a guess that is the same for every image, nearly.
_OF_GUESSING = 0.99 * math.log(CLASSES)

_OF_RUN = tuple(field.name for field in dataclasses.fields(Run))
_OF_TRAINING = ("learning_rate", "momentum", "warmup_share")
# Which older files lack, where it is what was done.
_DEFAULTS = {"zero_weight_ratio": 1.0, "weight_norm_floor": 0.0, "constant_rate": False}
_REACHED = (
    "diverged",
    "choosing_accuracy",
    "test_accuracy",
    "test_loss",
    "measured_accuracy",
    "measured_loss",
    "images_per_second",
    "seconds",
)


def gather(name: str, study: Study) -> dict:
    """What is done so far."""
    environments: list[dict] = []
    rows = []
    for run in study.runs():
        if run not in study.results:
            continue
        found = study.results[run]
        environment = {key: found[key] for key in ("versions", "device")}
        if environment not in environments:
            environments.append(environment)
        rows.append(
            {
                **found["run"],
                **{key: found["training"][key] for key in _OF_TRAINING},
                **_unusual(found["training"]),
                **{key: found[key] for key in _REACHED},
                "environment": environments.index(environment),
            }
        )
    return {
        "form": name,
        **_form(study.form),
        "planned": len(list(study.runs())),
        "environments": environments,
        "rows": rows,
    }


def training_of(results: dict, name: str) -> tuple[Training, dict]:
    """What was trained under a name, to be trained again, and its row.

    Raises:
        RecipeError: If it is not among the results.
    """
    for row in results["rows"]:
        run = Run(**{key: row[key] for key in _OF_RUN})
        if run.name == name:
            asked = Training(
                network=run.network,
                optimizer=BY_NAME[run.arm].optimizer,
                batch=run.batch,
                epochs=results["epochs"],
                image_size=results["image_size"],
                micro_batch=results["micro_batch"],
                seed=run.seed,
                data=results.get("data", "fashion_mnist"),
                **{key: row[key] for key in _OF_TRAINING},
                **_unusual(row),
            )
            return asked, row
    raise RecipeError(f"--again must name a training that is done, as {run.name}. Received: {name}")


def of_earlier_sitting(found: dict, name: str, form: Form) -> dict[Run, dict]:
    """What a file of results holds, as a study keeps it.

    Raises:
        RecipeError: If the file is of another form.
    """
    found = {"data": "fashion_mnist", **found}
    if found["form"] != name or any(found.get(key) != value for key, value in _form(form).items()):
        raise RecipeError(f"--output must be new, or hold results of this form. Received: {name}")
    return {
        Run(**{key: row[key] for key in _OF_RUN}): {
            "run": {key: row[key] for key in _OF_RUN},
            "training": {key: row[key] for key in _OF_TRAINING} | _unusual(row),
            **{key: row[key] for key in _REACHED},
            **found["environments"][row["environment"]],
        }
        for row in found["rows"]
    }


def _unusual(training: dict) -> dict:
    """What is not as it always was, so that files of earlier results stay as they are."""
    return {
        key: training[key]
        for key, default in _DEFAULTS.items()
        if training.get(key, default) != default
    }


def _form(form: Form) -> dict:
    """As JSON gives it back."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(form).items()
    }


def arms_of(results: dict) -> list[Arm]:
    """Those that are compared."""
    return [BY_NAME[name] for name in results["arms"]]


def select(results: dict, **wanted) -> list[dict]:
    """The rows that have these values."""
    return [row for row in results["rows"] if all(row[k] == v for k, v in wanted.items())]


def failed(row: dict) -> bool:
    """Whether a training diverged, be it to infinity or to a guess that it never leaves."""
    return row["diverged"] or row["measured_loss"] >= _OF_GUESSING


def accuracy_of(row: dict) -> float:
    """On test images; a training that diverged counts as a guess."""
    return 1 / CLASSES if failed(row) else row["test_accuracy"]
