"""Recipes against the published tables, retyped here, and changing and showing recipes."""

import dataclasses
import math
import re
import types

import pytest

import keras_lars
from benchmarks import recipes
from benchmarks.plan import Plan
from benchmarks.recipe import Execution, Recipe, RecipeError

ROWS = list(recipes.ROWS.values())
RUNNABLE = [row for row in ROWS if row.recipe is not None]
IMAGENET = [row for row in RUNNABLE if row.recipe.data == "imagenet2012"]
FIELDS = {field.name for field in dataclasses.fields(Recipe)}
TRAINING_IMAGES = {"digits": 1437, "fashion_mnist": 60_000, "imagenet2012": 1_281_167}


def by_name(row):
    return row.name


def plan_of(recipe):
    images = types.SimpleNamespace(train_images=TRAINING_IMAGES[recipe.data])
    return Plan(recipe, images, Execution())


def rows_of(prefix):
    found = [row for row in ROWS if row.name.startswith(prefix)]
    assert found
    return found


def line(row, *names):
    """A line of a published table: some fields, and the accuracy."""
    return (*(row.values[name] for name in names), row.published)


# --- the published tables -------------------------------------------------------------------------

RATE = ("global_batch_size", "learning_rate", "warmup_epochs", "epochs")
MLPERF = ("global_batch_size", "learning_rate", "warmup_epochs", "weight_decay", "momentum")

# {prefix of names: (fields, optimizer, lines of the fields and top-1)}
PUBLISHED = {
    "alexnet_sgd": (
        ("global_batch_size", "learning_rate"),
        "sgd",
        """512 .02 58.8
        4096 .04 53.0  4096 .05 53.1  4096 .06 51.6  4096 .07 0.1
        8192 .02 29.8  8192 .03 44.8  8192 .04 43.1  8192 .05 0.1""",
    ),
    "alexnet_bn_sgd": (
        ("global_batch_size", "learning_rate"),
        "sgd",
        """512 .02 60.2
        4096 .16 58.1  4096 .18 58.9  4096 .21 58.5  4096 .30 57.1
        8192 .23 57.6  8192 .30 58.0  8192 .32 57.7  8192 .41 56.5""",
    ),
    "alexnet_lars": (
        RATE,
        "lars",
        """512 2 2 100 58.7     4096 10 2 100 58.5   8192 10 2 100 58.2
        16384 14 2 100 55.0    32768 14 2 100 46.9
        16384 14 2 125 55.9    16384 14 2 150 56.7
        16384 14 2 175 57.3    16384 14 2 200 58.2""",
    ),
    "alexnet_bn_lars": (
        RATE,
        "lars",
        """512 2 5 100 60.2     4096 10 5 100 60.4   8192 14 5 100 60.1
        16384 23 5 100 59.3    32768 22 5 100 57.8
        32768 22 5 125 59.2    32768 22 5 150 59.5
        32768 22 5 175 59.5    32768 22 5 200 59.9""",
    ),
    "resnet50_lars": (
        RATE,
        "lars",
        """256 4 0 100 73.8     256 4 0 100 75.8      1024 9 5 100 73.3     1024 9 5 100 75.4
        8192 30 5 100 73.5     8192 30 5 100 75.2   16384 33 12 100 72.9  16384 33 12 100 74.4
        32768 40 12 100 72.5   32768 40 12 100 72.5
        16384 33 12 125 74.1   16384 33 12 150 74.6
        16384 33 12 175 74.8   16384 33 12 200 75.5""",
    ),
    "resnet50_sgd": (RATE, "sgd", "256 .2 0 100 73.0"),
    "resnet50_torchlars": (
        RATE,
        "lars",
        "8192 12.8 5 90 73.78  16384 25 5 90 73.36  32768 29 5 90 72.26",
    ),
    "googlenet_sgd": (("global_batch_size", "learning_rate", "epochs"), "sgd", "256 .02 100 69.2"),
    "googlenet_lars": (
        RATE,
        "lars",
        """256 4 5 100 70.3     1024 6 10 100 69.7    2048 7 25 150 71.1    4096 10 30 200 69.9
        8192 10 60 250 69.0    16384 10 110 350 67.2""",
    ),
    "mlperf": (
        MLPERF,
        "lars",
        """1632 7.4 2 5e-5 .9 75.9        2048 8.5 5 2e-4 .9 75.9     3264 10.5 2 5e-5 .9 75.9
        4096 10 5 2e-4 .9 75.9            8192 17 5 2e-4 .9 75.9      13056 12.8 9 2.5e-5 .9 75.9
        32768 21.2 16 2.5e-5 .94 75.9     49152 19.405 24 1e-4 .951807 75.9
        58880 23.246 29 1e-4 .951807 75.9 65536 24.699 31 1e-4 .951807 75.9
        67840 24.699 31 1e-4 .951807 75.9""",
    ),
    "nus": (
        RATE,
        "lars",
        """512 4 .15625 90 77.02           1024 5.656854249 .3125 90 76.96
        4096 11.3137085 1.25 90 77.38      8192 16 2.5 90 77.14
        16384 22.627417 5 90 76.96         32768 32 14 90 76.75""",
    ),
}


@pytest.mark.parametrize("prefix", PUBLISHED)
def test_rows_equal_the_published_ones(prefix):
    fields, optimizer, text = PUBLISHED[prefix]
    numbers, size = [float(number) for number in text.split()], len(fields) + 1
    expected = [tuple(numbers[i : i + size]) for i in range(0, len(numbers), size)]
    rows = rows_of(f"{prefix}_")
    received = [line(row, *fields) for row in rows]
    assert sorted(received) == [pytest.approx(row, rel=1e-8) for row in sorted(expected)]
    assert {line(row, "optimizer")[0] for row in rows} == {optimizer}


def test_every_row_of_a_published_table_is_checked():
    checked = [row for prefix in PUBLISHED for row in rows_of(f"{prefix}_")]
    left = {row.name for row in ROWS} - {row.name for row in checked}
    assert left == {
        *("digits_lars", "digits_sgd"),
        *("simclr", "simclr_sqrt", "simclr_finetune"),
        *("byol", "barlow_twins", "vicreg", "moco_v3"),
    }


def test_the_augmentation_of_table_4():
    extended = {line(row, "global_batch_size") for row in IMAGENET if "extended" in row.name}
    assert {(256, 75.8), (1024, 75.4), (8192, 75.2), (16384, 74.4), (32768, 72.5)} < extended
    for row in rows_of("resnet50_"):
        is_extended = row.recipe.augmentation == "extended"
        assert is_extended == ("extended" in row.name)


@pytest.mark.parametrize("row", rows_of("alexnet") + rows_of("resnet50"), ids=by_name)
def test_settings_shared_by_all_rows_of_the_paper(row):
    recipe = row.recipe
    assert (recipe.decay, recipe.decay_power, recipe.momentum) == ("polynomial", 2, 0.9)
    assert (recipe.trust_coefficient, recipe.end_learning_rate) == (1e-3, 0)
    assert recipe.exclude_from_weight_decay == recipe.exclude_from_layer_adaptation == "none"
    assert recipe.image_size == (224 if recipe.model == "resnet50" else 227)
    assert recipe.pixel_scale == (1 if recipe.model == "alexnet" else 1 / 256)
    assert recipe.dropout == (0 if recipe.model == "resnet50" else 0.5)
    at_90_epochs = recipe.epochs == 90 or row.name == "resnet50_sgd_256"
    assert recipe.weight_decay == (1e-4 if at_90_epochs else 5e-4)
    if recipe.optimizer == "lars" and recipe.warmup_epochs:
        assert (recipe.start_learning_rate, recipe.shift_decay) == (1, False)
    if recipe.optimizer == "sgd":
        assert recipe.warmup_epochs == (2.5 if recipe.model == "alexnet" else 0)


@pytest.mark.parametrize(
    ("name", "samples", "is_seen"),
    [
        ("alexnet_lars_8192", 0, True),
        ("alexnet_bn_sgd_512_0.02", 64, False),
        ("alexnet_bn_lars_4096", 512, False),
        ("alexnet_bn_lars_8192", 1024, True),
        ("alexnet_bn_lars_32768", 1024, True),
        ("resnet50_lars_256", 32, False),
        ("resnet50_lars_32768", 1024, False),
    ],
)
def test_the_samples_of_a_normalization(name, samples, is_seen):
    row = recipes.find(name)
    assert row.recipe.virtual_batch_size == samples
    assert ("virtual_batch_size" not in row.unverified) == is_seen


@pytest.mark.parametrize(
    ("name", "updates"),
    [  # from github.com/borisgin/nvcaffe-0.16, models/; exact if images divide almost evenly
        ("alexnet_lars_512", 250_000),
        ("alexnet_lars_8192", 15_600),
        ("alexnet_bn_lars_8192", 15_600),
        ("alexnet_lars_16384", 7800),
        ("alexnet_bn_lars_32768", 4000),
    ],
)
def test_updates_are_those_of_the_authors_solvers(name, updates):
    assert plan_of(recipes.find(name).recipe).updates == pytest.approx(updates, rel=0.03)
    if updates in (15_600, 7800):
        assert plan_of(recipes.find(name).recipe).updates == updates


def test_mlperf_rows():
    # The mean number of epochs to the target. The schedule is at least as long.
    taken = [35, 38.4, 35.2, 40, 42, 45.4, 56, 68, 79.9, 84.5, 85.9]
    samples = [204, 64, 204, 64, 64, 204, 128, 256, 230, 128, 424]  # `model_bn_span` there
    for row, epochs, of_normalization in zip(rows_of("mlperf_"), taken, samples):
        recipe = row.recipe
        assert recipe.virtual_batch_size == of_normalization
        assert epochs <= recipe.epochs < epochs + 5
        assert f"a target; {'NVIDIA' if 'outside' in recipe.momentum_form else 'Google'}" in (
            row.note
        )
        assert f"{epochs:g} epochs" in row.note
        assert (recipe.model, recipe.label_smoothing) == ("resnet50_v1_5", 0.1)
        assert (recipe.end_learning_rate, recipe.epsilon) == (1e-4, 0)
        assert (recipe.start_learning_rate, recipe.shift_decay) == (0, True)
        assert recipe.exclude_from_weight_decay == "bias_or_normalization"
        assert recipe.exclude_from_layer_adaptation == "bias_or_normalization"
        assert "virtual_batch_size" not in row.unverified


# --- every row ------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_a_row_is_complete(row):
    assert recipes.find(row.name) is recipes.ROWS[row.name] is row
    assert row.source
    assert len(set(row.unverified)) == len(row.unverified)
    assert set(row.unverified) <= FIELDS | {"published"}
    assert "\n" not in row.name + row.source + row.note
    assert " " not in row.name
    assert row.published is None or 0 < row.published < 100
    assert set(row.values) <= FIELDS


def test_names_are_unique():
    files = [recipes.rows.rows_of(f"{name}.csv") for name in ("quick_start", "published")]
    lines = [*files[0], *files[1], *recipes.self_supervised.ROWS]
    assert len(lines) == len(ROWS)


@pytest.mark.parametrize("row", RUNNABLE, ids=by_name)
def test_a_recipe_can_be_trained(row):
    recipe = row.recipe
    dataclasses.replace(recipe)  # passes the checks
    assert recipe.global_batch_size % max(1, recipe.virtual_batch_size) == 0
    plan = plan_of(recipe)
    assert 0 <= plan.warmup_updates < plan.updates
    assert recipe.start_learning_rate < recipe.learning_rate
    if not recipe.warmup_epochs:
        assert recipe.start_learning_rate == 0


def test_the_default_is_the_quick_start():
    assert recipes.default() == "digits_lars"
    assert recipes.find(recipes.default()).unverified == ()
    lars = {
        "model": "resnet50",
        "width": 0.25,
        "dropout": 0,
        "virtual_batch_size": 0,
        "zero_gamma": False,
        "data": "digits",
        "image_size": 8,
        "pixel_scale": 1 / 256,
        "augmentation": "none",
        "label_smoothing": 0,
        "optimizer": "lars",
        "global_batch_size": 64,
        "epochs": 16,
        "learning_rate": 4,
        "warmup_epochs": 2,
        "warmup_power": 1,
        "start_learning_rate": 0,
        "shift_decay": True,
        "decay": "polynomial",
        "decay_power": 2,
        "end_learning_rate": 0,
        "momentum": 0.9,
        "nesterov": False,
        "momentum_form": "classic",
        "weight_decay": 5e-4,
        "exclude_from_weight_decay": "bias_or_normalization",
        "trust_coefficient": 1e-3,
        "exclude_from_layer_adaptation": "none",
        "unadapted_learning_rate_multiplier": 1,
        "epsilon": 0,
        "weight_norm_floor": 0.05,
        "precision": "float32",
        "seed": 0,
    }
    assert dataclasses.asdict(recipes.override()) == lars
    assert dataclasses.asdict(recipes.override(optimizer="sgd")) == {
        **lars,
        "optimizer": "sgd",
        "learning_rate": 0.02,
    }


# --- scaled down ----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", recipes.SCALES)
@pytest.mark.parametrize("row", IMAGENET, ids=by_name)
def test_scaled_down(row, data):
    large, small = row.recipe, recipes.scaled_down(row.recipe, data)
    assert (small.data, small.width, small.augmentation) == (
        data,
        recipes.SCALES[data].width,
        "none",
    )
    assert (small.image_size, small.pixel_scale) == ({"digits": 8}.get(data, 14), 1 / 256)
    epochs, batch = {"digits": (5, 64), "fashion_mnist": (10, 4)}[data]
    assert small.epochs == math.ceil(large.epochs / epochs) >= 1
    assert small.warmup_epochs / small.epochs == pytest.approx(large.warmup_epochs / large.epochs)
    assert small.global_batch_size == large.global_batch_size // batch
    assert 1 <= small.global_batch_size <= TRAINING_IMAGES[data]
    if large.virtual_batch_size:
        least = max(2, large.virtual_batch_size // batch)
        assert small.global_batch_size % small.virtual_batch_size == 0
        assert least <= small.virtual_batch_size < 3 * least
    else:
        assert small.virtual_batch_size == 0
    kept = ("model", "dropout", "learning_rate", "optimizer", "decay", "weight_decay", "momentum")
    for name in (*kept, "start_learning_rate", "shift_decay", "label_smoothing", "seed"):
        assert getattr(small, name) == getattr(large, name)
    plan = plan_of(small)
    assert 0 <= plan.warmup_updates < plan.updates


def test_a_tiny_recipe_is_scaled_down_to_at_least_one():
    tiny = recipes.override("resnet50_lars_256", epochs=1, global_batch_size=8)
    small = recipes.scaled_down(tiny, "digits")
    assert (small.epochs, small.global_batch_size, small.virtual_batch_size) == (1, 1, 1)


def test_synthetic_data_changes_nothing_else():
    for name in ("alexnet_lars_512", "digits_lars"):
        recipe = recipes.find(name).recipe
        synthetic = recipes.scaled_down(recipe, "synthetic")
        assert synthetic == dataclasses.replace(recipe, data="synthetic")
        assert recipes.scaled_down(recipe, recipe.data) is recipe
    large = recipes.find("alexnet_lars_512").recipe
    assert recipes.scaled_down(recipes.scaled_down(large, "synthetic"), "imagenet2012") == large


@pytest.mark.parametrize("data", ["imagenet2012", "fashion_mnist"])
def test_a_small_recipe_is_for_its_data_only(data):
    with pytest.raises(RecipeError, match=f"--data={data} needs .* Received: a recipe for digits$"):
        recipes.override(data=data)


# --- the command line -----------------------------------------------------------------------------


def test_override_scales_down_and_then_overrides():
    small = recipes.override(
        "alexnet_bn_lars_8192", data="fashion_mnist", global_batch_size=500, image_size=28
    )
    assert (small.global_batch_size, small.image_size) == (500, 28)
    # The other fields are those of the row scaled down.
    assert (small.epochs, small.warmup_epochs, small.learning_rate) == (10, 0.5, 14)
    large = recipes.override("alexnet_bn_lars_8192", epochs=90)
    assert large == dataclasses.replace(recipes.find("alexnet_bn_lars_8192").recipe, epochs=90)
    # A row chosen by name keeps its rate, even with another optimizer.
    assert recipes.override("digits_lars", optimizer="sgd").learning_rate == 4
    assert recipes.override(optimizer="sgd", data="synthetic").learning_rate == 0.02


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("alexnet_lars_8193", {}, r"--list_recipes prints\. Received: .*8193; similar names: alex"),
        ("qqqq", {}, r"Received: qqqq; similar names: none$"),
        ("googlenet_lars_256", {}, r"Received: googlenet_lars_256, which is a published number"),
        ("simclr", {}, r"Received: simclr, which is an optimizer setting without network and loss"),
        ("nus_512", {"data": "cats"}, r"--data must be one of .*Received: cats"),
        (None, {"epochs": 0}, r"--epochs must be"),
    ],
)
def test_mistakes_give_one_line_errors(name, fields, message):
    with pytest.raises(RecipeError, match=message) as error:
        recipes.override(name, **fields)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("row", [row for row in ROWS if row.recipe is None], ids=by_name)
def test_a_row_without_a_recipe_cannot_be_trained(row):
    with pytest.raises(RecipeError, match=r"--recipe must be one that can be trained"):
        recipes.override(row.name, data="digits")


# --- optimizers of self-supervised learning -------------------------------------------------------

# {name: (batch, rate, weight decay, form)}
SELF_SUPERVISED = {
    "simclr": (4096, 0.3 * 4096 / 256, 1e-6, "classic"),
    "simclr_sqrt": (4096, 0.075 * 64, 1e-6, "classic"),
    "simclr_finetune": (1024, 0.005 * 32, 0, "classic"),
    "byol": (4096, 0.2 * 16, 1.5e-6, "learning_rate_outside"),
    "barlow_twins": (2048, 0.2 * 8, 1e-6, "learning_rate_outside"),
    "vicreg": (2048, 0.2 * 8, 1e-6, "learning_rate_outside"),
    "moco_v3": (4096, 0.3 * 16, 1.5e-6, "learning_rate_outside"),
}


@pytest.mark.parametrize("name", SELF_SUPERVISED)
def test_optimizers_of_self_supervised_learning(name):
    batch, rate, weight_decay, form = SELF_SUPERVISED[name]
    settings = recipes.settings(name)
    assert settings["global_batch_size"] == batch
    assert settings["learning_rate"] == pytest.approx(rate)
    rule = settings["learning_rate_rule"].replace("batch", str(batch))
    assert eval(rule, {"sqrt": math.sqrt}) == pytest.approx(rate)
    optimizer = keras_lars.LARS(settings["learning_rate"], **settings["lars"])
    assert optimizer.momentum_form == form
    assert optimizer.decay_in_norm
    config = optimizer.get_config()
    assert (config["momentum"], config["trust_coefficient"]) == (0.9, 1e-3)
    assert config["weight_decay"] == weight_decay
    multiplier = 0.0048 / 0.2 if name == "barlow_twins" else 1
    assert config["unadapted_learning_rate_multiplier"] == pytest.approx(multiplier)


def test_settings_are_a_copy():
    recipes.settings("simclr")["lars"]["momentum"] = 0.5
    assert recipes.settings("simclr")["lars"]["momentum"] == 0.9
    with pytest.raises(RecipeError, match=r"must be one of simclr, .* Received: simclr_9$"):
        recipes.settings("simclr_9")


# --- in a terminal --------------------------------------------------------------------------------


def test_the_list_has_every_row_in_80_columns():
    text = recipes.listing(ROWS)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    listed = [line.split()[0] for line in lines if line.split(" ")[0] in recipes.ROWS]
    assert listed == [row.name for row in ROWS]
    for row in ROWS:
        assert f"\n{row.source}:\n" in text
    assert lines[0].split() == ["name", "model", "batch", "rate", "epochs", "top-1"]
    (nus,) = [line.split() for line in lines if line.startswith("nus_512 ")]
    assert nus == ["nus_512", "resnet50_v1_5", "512", "4", "90", "77.02"]
    row = dataclasses.replace(recipes.find("nus_512"), unverified=("published", "epochs"))
    assert re.search(r" 90\? +77\.02\?\n", recipes.listing([row]))


def details(row):
    """{name of the line: text}."""
    found = {}
    for text_line in recipes.details(row).splitlines():
        assert len(text_line) <= 80
        if text_line[:14].strip():
            name = text_line[:14].strip()
            found[name] = text_line[14:]
        else:
            found[name] += " " + text_line[14:]
    return found


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_details_show_all_that_is_known(row):
    found = details(row)
    assert found["name"] == row.name
    assert found["source"] == row.source
    assert found.get("note", "") == row.note
    assert found.get("unverified", "") == ", ".join(row.unverified)
    if row.published is not None:
        assert float(found["top-1 %"].removesuffix("?")) == row.published
    columns = {
        "model": "model",
        "data": "data",
        "global_batch_size": "batch",
        "optimizer": "optimizer",
        "learning_rate": "learning rate",
        "momentum": "momentum",
        "weight_decay": "weight decay",
        "epochs": "epochs",
    }
    values = row.values
    for field, name in columns.items():
        assert (name in found) == (field in values)
        if field in values:
            text, value = found[name].removesuffix("?"), values[field]
            same = text == value if isinstance(value, str) else float(text) == pytest.approx(value)
            assert same, (row.name, field)
            assert found[name].endswith("?") == (field in row.unverified), (row.name, field)


def test_details_of_shared_lines():
    def of(name):
        return details(recipes.find(name))

    lars = of("alexnet_bn_lars_8192")
    assert (lars["warm-up"], lars["decay"]) == ("5 ep linear from 1", "poly 2 from update 0")
    assert (lars["excluded"], lars["weight decay"]) == ("-", "0.0005")
    mlperf = of("mlperf_32768")
    assert (mlperf["warm-up"], mlperf["decay"]) == ("16 ep linear from 0", "poly 2 to 0.0001")
    assert mlperf["excluded"] == "bias, norm"
    assert of("digits_lars")["excluded"] == "decay: bias, norm; adaptation: -"
    assert of("alexnet_bn_sgd_8192_0.3")["warm-up"] == "-"
    assert of("alexnet_sgd_512_0.02")["warm-up"] == "2.5 ep linear from 0?"
    assert of("googlenet_lars_16384")["warm-up"] == "110 ep"
    assert "warm-up" not in of("googlenet_sgd_256")
    row = recipes.find("digits_lars")
    row = dataclasses.replace(row, values={**row.values, "warmup_power": 2.0})
    assert details(row)["warm-up"] == "2 ep power 2 from 0"
