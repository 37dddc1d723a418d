"""Records of norms and ratios as the monitor writes them, for tests of code that reads them."""

import json
import math

import numpy as np

from keras_lars._monitoring import history
from keras_lars._monitoring.record import locate

COLUMNS = "update,epoch,variable,weight_norm,gradient_norm,trust_ratio,learning_rate"
FEW = {
    "model/first/kernel": (3, 3, 1, 4),
    "model/first/bias": (4,),
    "model/normalization/gamma": (4,),
    "model/normalization/beta": (4,),
    "model/head/kernel": (4, 10),
}


def many():
    """160 variables with the names of a ResNet-50."""
    shapes = {}
    for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)):
        for block in range(1, blocks + 1):
            for part in (0, 1, 2, 3) if block == 1 else (1, 2, 3):
                name = f"conv{stage}_block{block}_{part}"
                shapes |= {f"{name}_conv/kernel": (1, 1, 8, 8)}
                shapes |= {f"{name}_bn/{parameter}": (8,) for parameter in ("gamma", "beta")}
    shapes |= {"conv1_conv/kernel": (7, 7, 3, 8), "conv1_conv/bias": (8,)}
    return shapes | {"predictions/kernel": (8, 10), "predictions/bias": (10,)}


def rows_of(names, updates=range(1, 31, 3)):
    """Norms and ratios that differ by variable and drift by update."""
    generator = np.random.default_rng(0)
    scales = np.exp(generator.normal(size=(2, len(names))))
    for update in updates:
        for i, name in enumerate(names):
            w, g = scales[0, i], scales[1, i] * math.exp(-update / 30)
            yield update, update / 10, name, w, g, 0.001 * w / g, 2.0 / update


def write_csv(folder, rows, header=COLUMNS):
    folder.mkdir(exist_ok=True)
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    (folder / "trust_ratios.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_json_lines(folder, rows):
    folder.mkdir(exist_ok=True)
    finite = [[None if x != x or x in (math.inf, -math.inf) else x for x in row] for row in rows]
    lines = [json.dumps(dict(zip(COLUMNS.split(","), row))) + "\n" for row in finite]
    (folder / "trust_ratios.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def write_variables(folder, shapes, excluded=(), paths=None, **optimizer):
    folder.mkdir(exist_ok=True)
    variables = [
        {
            "position": i,
            "path": path,
            "shape": shape,
            "adapted": path not in excluded,
            "adaptation_rule": "rank_at_most(1)" if path in excluded else "",
            "decayed": len(shape) > 1,
            "decay_rule": "" if len(shape) > 1 else "bias_or_normalization()",
        }
        for i, (path, shape) in enumerate(zip(paths or shapes, shapes.values()))
    ]
    settings = {"learning_rate": 2.0, "momentum": 0.9, **optimizer}
    text = {"optimizer": settings, "versions": {"keras": "3"}, "variables": variables}
    (folder / "variables.json").write_text(json.dumps(text), encoding="utf-8")
    return folder


def row(update, name, w, g, ratio, rate=1.0):
    return update, update / 10, name, w, g, ratio, rate


def read(folder):
    return history.read(locate(folder))
