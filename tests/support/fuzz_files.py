"""Records of the monitor that were damaged, edited, or written by another program."""

import functools
import json
import pathlib

from keras_lars import report
from keras_lars._monitoring import record, variables

ROWS = [
    record.Row(update, update / 2, variable, 5.0, 0.5, 0.01, 2.0)
    for update in (1, 2, 3)
    for variable in ("dense/kernel", "dense/bias")
]
DESCRIPTION = {
    "optimizer": {"learning_rate": 2.0, "weight_norm_floor": 0.05},
    "versions": {"keras_lars": "0.1.0"},
    "variables": [
        {
            "position": position,
            "path": path,
            "shape": shape,
            **{"adapted": True, "adaptation_rule": "", "decayed": True, "decay_rule": ""},
        }
        for position, (path, shape) in enumerate(
            {"dense/kernel": [3, 4], "dense/bias": [4]}.items()
        )
    ],
}
# Numbers, as JSON and CSV write them.
NUMBERS = {
    "0": "0",
    "-1": "-1",
    "1.5": "1.5",
    "2**63": str(2**63),
    "10**400": "1" + "0" * 400,
    "10**5000": "1" + "0" * 5000,
    "1e400": "1e400",
}
# Values, as JSON writes them.
JSON = {
    "null": "null",
    "true": "true",
    "text": '"abc"',
    "empty text": '""',
    "line break": '"a\\nb"',
    "surrogate": '"\\ud800"',
    "4,000 characters": json.dumps("x/" * 2000),
    "list": "[1]",
    "object": "{}",
    **NUMBERS,
    "NaN": "NaN",
    "-Infinity": "-Infinity",
    "deep": "[" * 500 + "]" * 500,
    "very deep": "[" * 100_000,
    "nothing": "",
}
CSV = {
    "nothing": "",
    "text": "abc",
    "quote": '"abc',
    "quoted": '"a""b"',
    "backslash": "a\\nb",
    "4,000 characters": "x/" * 2000,
    "200,000 characters": "x" * 200_000,
    "zero byte": "a\0b",
    "true": "true",
    **NUMBERS,
    "nan": "nan",
    "-inf": "-inf",
    "-0": "-0",
}
# Changes of a whole file, as bytes.
FILES = {
    "as it is": lambda data: data,
    "empty": lambda data: b"",
    "byte-order mark": lambda data: b"\xef\xbb\xbf" + data,
    "two byte-order marks": lambda data: b"\xef\xbb\xbf" * 2 + data,
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "Latin-1": lambda data: data.replace(b"kernel", b"k\xe9rnel"),
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "CR": lambda data: data.replace(b"\n", b"\r"),
    "empty lines": lambda data: data.replace(b"\n", b"\n\n"),
    "no last line end": lambda data: data.rstrip(b"\n"),
    "a third": lambda data: data[: len(data) // 3],
    "half": lambda data: data[: len(data) // 2],
    "twice": lambda data: data * 2,
    "zero bytes": lambda data: data + b"\0" * 100,
    "binary": lambda data: bytes(range(256)) * 10,
    "very deep": lambda data: b"[" * 100_000,
    "deep object": lambda data: b'{"a":' * 500 + b"1" + b"}" * 500,
    "a number": lambda data: b"1\n",
    "null": lambda data: b"null\n",
}


def nothing(folder):
    """Prepares nothing, as most cases need nothing."""


def write_record(folder, names=("trust_ratios.csv", "trust_ratios.jsonl", "variables.json")):
    """A record as the monitor writes it, in `log`."""
    log = pathlib.Path(folder) / "log"
    log.mkdir(exist_ok=True)
    for name in names:
        if name == "variables.json":
            variables.write(log, DESCRIPTION)
        else:
            writer = record.writer(name.rpartition(".")[2], log)
            writer.begin(1)
            writer.add(ROWS)


def write_changed(name, change, folder):
    write_record(
        folder, {name, "variables.json"} if "ratios" in name else {name, "trust_ratios.csv"}
    )
    path = pathlib.Path(folder) / "log" / name
    path.write_bytes(change(path.read_bytes()))


def _with_csv(column, text, data):
    """The file with other text in one column of the third line."""
    lines = data.decode().split("\n")
    fields = lines[2].split(",")
    fields[record.COLUMNS.index(column)] = text
    lines[2] = ",".join(fields)
    return "\n".join(lines).encode()


def _with_json(keys, text, data):
    """The file with other text at the keys, which lead into its third line or the whole file."""
    lines = data.decode().split("\n") if keys[0] in record.COLUMNS else [data.decode()]
    at = min(2, len(lines) - 1)
    value = json.loads(lines[at])
    holder = value
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = "REPLACED"
    lines[at] = json.dumps(value).replace('"REPLACED"', text)
    return "\n".join(lines).encode()


def _keys_of_description():
    yield from (["optimizer"], ["versions"], ["variables"], ["variables", 0])
    yield from (["optimizer", "weight_norm_floor"], ["optimizer", "learning_rate"])
    yield from (["variables", 1, key] for key in DESCRIPTION["variables"][0])
    yield ["variables", 1, "shape", 0]


def changes():
    """By name: the file that is changed, and the function that changes it."""
    found = {}
    for name in ("trust_ratios.csv", "trust_ratios.jsonl", "variables.json"):
        for kind, change in FILES.items():
            found[f"{name} <- {kind}"] = (name, change)
    for column in record.COLUMNS:
        for kind, text in CSV.items():
            change = functools.partial(_with_csv, column, text)
            found[f"trust_ratios.csv {column} <- {kind}"] = ("trust_ratios.csv", change)
        for kind, text in JSON.items():
            change = functools.partial(_with_json, [column], text)
            found[f"trust_ratios.jsonl {column} <- {kind}"] = ("trust_ratios.jsonl", change)
    for keys in _keys_of_description():
        for kind, text in JSON.items():
            change = functools.partial(_with_json, keys, text)
            where = ".".join(map(str, keys))
            found[f"variables.json {where} <- {kind}"] = ("variables.json", change)
    return found


def _draw(folder):
    report.draw(folder / "log")


def _continue(name, folder):
    """Does what the monitor does with an existing record: checks it, keeps rows, and adds more."""
    writer = record.writer(name.rpartition(".")[2], folder / "log")
    writer.check()
    writer.begin(3)
    writer.add(ROWS[4:])
    text = (folder / "log" / name).read_text(encoding="utf-8")
    assert text.startswith(("update,", "{")), text[:100]


def cases():
    """By name: the names that an error may mention, the preparation, and the call."""
    found = {}
    for kind, (name, change) in changes().items():
        prepare = functools.partial(write_changed, name, change)
        found[f"file report of {kind}"] = (("run",), prepare, _draw)
        if name != "variables.json":
            act = functools.partial(_continue, name)
            found[f"file monitor goes on with {kind}"] = (("log_dir",), prepare, act)
    return found
