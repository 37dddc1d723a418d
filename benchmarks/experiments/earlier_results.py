"""Converts results of earlier versions to the current format of `results`."""


def to_current_format(found: dict) -> dict:
    """Converts results of any version to the format that `gather` makes."""
    if "figure" in found:
        rows = [
            {**{k: v for k, v in row.items() if k != "recipe"}, "settings": row["recipe"]}
            for row in found["points"]
        ]
        renamed = {"figure": "experiment", "study": "ablation"}
        settings = {renamed.get(k, k): v for k, v in found["settings"].items()}
        about = {renamed.get(k, k): v for k, v in found.items() if k != "points"}
        return {**about, "settings": settings, "rows": rows}
    if "form" in found:
        return _from_batch_size(found)
    if "experiment" not in found and "batch_size" in found:
        return _from_optimizers(found)
    return found


def _from_batch_size(found: dict) -> dict:
    label = ("network", "method", "batch", "kind", "number")
    renamed = {"arm": "method", "warmup_share": "warmup_fraction"}
    settings = ["learning_rate", "momentum", "warmup_fraction"]
    settings += ["zero_weight_ratio", "weight_norm_floor", "constant_rate"]
    rows = []
    for old in found["rows"]:
        row = {renamed.get(name, name): value for name, value in old.items()}
        rows.append(
            {
                "name": "{network}-{method}-{batch}-{kind}{number}".format(**row),
                "label": {name: row.pop(name) for name in label},
                "settings": {name: row.pop(name) for name in settings if name in row},
                "environment": row.pop("environment"),
                "result": row,
            }
        )
    asked = {"micro_batch": "micro_batch_size", "arms": "methods", "form": "size"}
    about = ("planned", "environments", "rows")
    return {
        "experiment": "batch_size",
        "settings": {
            "data": "fashion_mnist",  # the only data of the first files, which do not name it
            "trial_seeds": 1,
            **{asked.get(name, name): value for name, value in found.items() if name not in about},
        },
        **{name: found[name] for name in about},
        "rows": rows,
    }


def _from_optimizers(found: dict) -> dict:
    label = ("network", "optimizer", "learning_rate", "seed")
    rows = [
        {
            "label": {name: row[name] for name in row if name in label},
            "settings": {},
            "result": {"diverged": False} | {n: row[n] for n in row if n not in label},
            "environment": 0,
        }
        for row in found["rows"]
    ]
    environment = {name: found[name] for name in ("versions", "device")}
    return {
        "experiment": "first_try" if "recalibration_images" in found else "fine_tuning",
        "settings": {k: v for k, v in found.items() if k not in ("rows", *environment)},
        "environments": [environment],
        "planned": len(rows),
        "rows": rows,
    }
