"""Values that hardly any argument should accept, by name. Each use creates a new one."""

import decimal
import fractions
import math
import pathlib

import keras
import numpy as np


class Unwritable:
    """An object whose repr fails."""

    def __repr__(self):
        raise RuntimeError("no repr")


def cyclic():
    value = []
    value.append(value)
    return value


def nested(depth):
    value = "bias"
    for _ in range(depth):
        value = [value]
    return value


VALUES = {
    # Numbers.
    "0": lambda: 0,
    "1": lambda: 1,
    "-1": lambda: -1,
    "0.5": lambda: 0.5,
    "-0.0": lambda: -0.0,
    "3": lambda: 3,
    "NaN": lambda: math.nan,
    "inf": lambda: math.inf,
    "-inf": lambda: -math.inf,
    "10**400": lambda: 10**400,
    "-10**400": lambda: -(10**400),
    "10**5000": lambda: 10**5000,
    "2**31": lambda: 2**31,
    "2**31-1": lambda: 2**31 - 1,
    "2**53+1": lambda: 2**53 + 1,
    "2**63": lambda: 2**63,
    "2**63-1": lambda: 2**63 - 1,
    "2**64": lambda: 2**64,
    "1e39": lambda: 1e39,
    "1e308": lambda: 1e308,
    "1e-46": lambda: 1e-46,
    "1e-320": lambda: 1e-320,
    "1j": lambda: 1j,
    "True": lambda: True,
    "False": lambda: False,
    "fraction": lambda: fractions.Fraction(1, 3),
    "small fraction": lambda: fractions.Fraction(1, 10**400),
    "large fraction": lambda: fractions.Fraction(10**400, 3),
    "decimal": lambda: decimal.Decimal("0.5"),
    "float32": lambda: np.float32(0.5),
    "float32 NaN": lambda: np.float32("nan"),
    "int64": lambda: np.int64(2),
    "uint64": lambda: np.uint64(2**64 - 1),
    "numpy True": lambda: np.bool_(True),
    "longdouble": lambda: np.longdouble("1e4000"),
    # Texts.
    "empty text": lambda: "",
    "space": lambda: " ",
    "text": lambda: "abc",
    "number as text": lambda: "0.5",
    "true as text": lambda: "true",
    "slash": lambda: "a/b",
    "line break": lambda: "a\nb",
    "carriage return": lambda: "a\rb",
    "zero byte": lambda: "a\0b",
    "surrogate": lambda: "a\ud800b",
    "accents": lambda: "é" * 50,
    "4,000 characters": lambda: "x" * 4000,
    "bracket": lambda: "(",
    "20,000 brackets": lambda: "(" * 20_000,
    "empty alternative": lambda: "bias|",
    "flags alone": lambda: "(?i)",
    "large repetition": lambda: "a{99999999999999999999}",
    "everything": lambda: ".*",
    "bytes": lambda: b"abc",
    "empty bytes": lambda: b"",
    "bytearray": lambda: bytearray(b"x"),
    "pattern": lambda: __import__("re").compile("x"),
    "path": lambda: pathlib.Path("here"),
    "path of bytes": lambda: BytesPath(),
    # Arrays.
    "scalar array": lambda: np.array(0.5),
    "array": lambda: np.ones(3),
    "empty array": lambda: np.ones((0, 2)),
    "array of NaN": lambda: np.full((3, 2), np.nan),
    "array of texts": lambda: np.array(["a", "b"]),
    "array of objects": lambda: np.array([None, {}]),
    "complex array": lambda: np.ones((3, 2), complex),
    "tensor": lambda: keras.ops.convert_to_tensor(0.5),
    "tensors": lambda: [keras.ops.ones(2)],
    "variable": lambda: keras.Variable(0.5, name="odd"),
    "variables": lambda: [keras.Variable([1.0], name="odd")],
    # Collections and other objects.
    "None": lambda: None,
    "empty list": lambda: [],
    "empty tuple": lambda: (),
    "list of None": lambda: [None],
    "list twice": lambda: ["csv", "csv"],
    "list of lists": lambda: [["csv"]],
    "list of bytes": lambda: [b"csv"],
    "deep list": lambda: nested(5000),
    "cyclic list": cyclic,
    "long list": lambda: ["bias"] * 10_000,
    "set": lambda: {"csv"},
    "dictionary": lambda: {},
    "dictionary of anything": lambda: {"class_name": "NoSuch", "config": {}, "module": None},
    "dictionary of a rule": lambda: {
        "module": None,
        "class_name": "pattern",
        "config": {"pattern": b"x"},
        "registered_name": "keras_lars>pattern",
    },
    "generator": lambda: (x for x in ["csv"]),
    "range": lambda: range(3),
    "object": object,
    "unwritable": Unwritable,
    "ellipsis": lambda: ...,
    "class": lambda: keras.optimizers.SGD,
    "schedule class": lambda: keras.optimizers.schedules.CosineDecay,
    "schedule": lambda: keras.optimizers.schedules.CosineDecay(1.0, 10),
    "function of nothing": lambda: lambda: 0.5,
    "function of one": lambda: lambda x: True,
    "function of three": lambda: lambda x, y, z: True,
    "function to an array": lambda: lambda x: np.ones(2),
    "module": lambda: math,
    "optimizer": lambda: keras.optimizers.SGD(),
}


class BytesPath:
    def __fspath__(self):
        return b"here"
