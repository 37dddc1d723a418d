"""The page: one file of HTML with the pictures in it, and no script."""

import base64
import html as html_module
import math
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from keras_lars._monitoring import anomalies
from keras_lars._monitoring.history import History
from keras_lars._words import counted

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem; background: #fff; color: #222;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.6rem; font-weight: 600; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; font-weight: 600; margin: 2.5rem 0 .5rem; }
p { margin: .4rem 0; max-width: 44rem; }
code, .path { font: .875em/1.4 ui-monospace, "SF Mono", Menlo, Consolas, monospace;
  overflow-wrap: anywhere; }
.quiet { color: #666; }
.wide { overflow-x: auto; }
.wide img { display: block; width: 100%; min-width: 40rem; height: auto; }
table { border-collapse: collapse; font-size: .875rem; }
th { text-align: left; font-weight: 600; color: #555; }
th, td { padding: .2rem 1.2rem .2rem 0; border-bottom: 1px solid #eee; vertical-align: top; }
td { font-variant-numeric: tabular-nums; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.path { white-space: nowrap; }
.odd { color: #b00020; font-weight: 600; }
.findings { padding-left: 1.1rem; max-width: 44rem; }
.findings > li { margin: .6rem 0; }
.findings ul { margin: .2rem 0; padding-left: 1.1rem; }
summary { cursor: pointer; }
"""

_PICTURES = {
    "local_learning_rate.png": (
        "Local learning rates",
        "What the gradient of each adapted variable is multiplied by: the learning rate times its "
        "trust ratio. A line far below the others is a layer that LARS holds back; a line that "
        "jumps had a gradient or a weight that did.",
    ),
    "trust_ratios.png": (
        "Trust ratios",
        "From the first variable of the model at the top to the last at the bottom, and from the "
        "first record at the left to the last at the right, in logarithmic colors. A row of one "
        "color is a layer in balance; a row that gets darker is one whose gradient grows beside "
        "its weight.",
    ),
    "norms.png": (
        "Norms of weights and gradients",
        "What the ratios are made of. Weight norms that only grow ask for more weight decay; a "
        "gradient norm that grows by orders of magnitude comes before a divergence.",
    ),
}
_NOTHING = '<span class="quiet">none</span>'
# So many names in a list stand there at once.
_OPEN = 8


def html(path: pathlib.Path, record: History, images: dict[str, bytes]) -> str:
    """The page of a record and of its pictures by file name."""
    name = path.absolute().parent.name
    parts = [
        f"<h1>LARS, layer by layer: {_escape(name)}</h1>",
        *_summary(path, record),
        "<h2>What stands out</h2>",
        *_findings_list([*anomalies.find(record), *anomalies.without_gradient(record)]),
        *(part for name, image in images.items() for part in _picture(name, image, record)),
        *_settings(record),
        *_last_record(record),
        *_variables(record),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>LARS, layer by layer: {_escape(name)}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def _summary(path: pathlib.Path, record: History) -> list[str]:
    first, last, records = record.updates[0], record.updates[-1], len(record.updates)
    span = f"Update {first}" if records == 1 else f"Updates {first} to {last}"
    epochs = [number(record.epochs[i]) for i in (0, -1)]
    epochs = f"epoch {epochs[0]}" if records == 1 else f"epochs {epochs[0]} to {epochs[1]}"
    variables = counted(len(record.variables), "variable")
    adapted = ""
    if record.description:
        share = f"{len(record.adapted)} of them" if record.unadapted else "all"
        adapted = f", {share} adapted"
    never = sum(not row.any() for row in record.is_recorded)
    unrecorded = f" {counted(never, 'variable')} never recorded." if never else ""
    lines = [
        f"<p>{span} in {counted(records, 'record')}, {epochs}; {variables}{adapted}."
        f"{unrecorded}</p>"
    ]
    if record.description is None:
        lines.append(
            "<p>There is no <code>variables.json</code> beside the record, so that settings, "
            "shapes and exclusions are not known: all variables are shown as adapted.</p>"
        )
    return [*lines, f'<p class="quiet">Read from <code>{_escape(path.name)}</code>.</p>']


def _findings_list(findings: Sequence[anomalies.Finding]) -> list[str]:
    if not findings:
        return [
            "<p>Nothing: all that was recorded is finite, no norm that matters is 0, no step was "
            "larger than its weight, and every adapted variable was recorded.</p>"
        ]
    lines = ['<ul class="findings">']
    for kind, anomaly in anomalies.ANOMALIES.items():
        items = [
            f'<li><span class="path">{_escape(found.variable)}</span> '
            f"{anomalies.when(found.updates)}</li>"
            for found in findings
            if found.kind == kind
        ]
        if items:
            count, listed = counted(len(items), "variable"), f"<ul>{''.join(items)}</ul>"
            if len(items) > _OPEN:
                listed = f"<details><summary>{count}</summary>{listed}</details>"
            lines.append(f"<li>{_escape(anomaly.what)}. {_escape(anomaly.advice)} {listed}</li>")
    return [*lines, "</ul>"]


def _picture(name: str, image: bytes, record: History) -> list[str]:
    title, text = _PICTURES[name]
    if name != "norms.png" and record.unadapted:
        is_one = len(record.unadapted) == 1
        text += (
            f" Left out: the {counted(len(record.unadapted), 'variable')} excluded from "
            f"adaptation, which move{'s' * is_one} at the learning rate times a constant."
        )
    if name == "local_learning_rate.png":
        text += (
            " Here and in the norms, what is 0 or not finite leaves a gap, and a cross is where a "
            "named line ends before the last record."
        )
    source = "data:image/png;base64," + base64.b64encode(image).decode()
    return [
        f"<h2>{title}</h2>",
        f"<p>{text}</p>",
        f'<div class="wide"><img alt="{title}, as described above" src="{source}"></div>',
    ]


def _settings(record: History) -> list[str]:
    if record.description is None:
        return []
    settings = {**record.description.optimizer, **record.description.versions}
    rows = [(f"<code>{_escape(k)}</code>", _escape(setting(v))) for k, v in settings.items()]
    return ["<h2>The optimizer</h2>", *_table(["setting", "value"], rows, paths=0)]


def _last_record(record: History) -> list[str]:
    rate = record.local_learning_rate
    columns = (record.weight_norm, record.gradient_norm, record.trust_ratio, rate)
    rows = [
        (
            _escape(variable.name),
            *(
                _number_cell(values[i, -1]) if record.is_recorded[i, -1] else _NOTHING
                for values in columns
            ),
        )
        for i, variable in enumerate(record.variables)
    ]
    names = ["variable", "weight norm", "gradient norm", "trust ratio", "local learning rate"]
    return [
        f"<h2>The last record, update {record.updates[-1]}</h2>",
        f"<p>Learning rate {number(record.global_learning_rate[-1])}.</p>",
        *_table(names, rows, numbers=range(1, 5)),
    ]


def _variables(record: History) -> list[str]:
    if record.description is None:
        return []
    rows = [
        (
            _escape(variable.name),
            _escape(str(variable.shape)),
            _treatment(variable.adapted, variable.adaptation_rule),
            _treatment(variable.decayed, variable.decay_rule or "weight_decay is 0"),
        )
        for variable in record.variables
    ]
    return ["<h2>The variables</h2>", *_table(["variable", "shape", "adapted", "decayed"], rows)]


def _treatment(is_so: bool | None, rule: str) -> str:
    return "yes" if is_so else f"no: <code>{_escape(rule)}</code>"


def _table(
    names: Sequence[str], rows: Iterable[tuple], numbers: Iterable[int] = (), paths: int | None = 0
) -> list[str]:
    """A table of cells that are HTML; one column holds paths, some hold numbers."""
    kinds = ['class="number"' if i in set(numbers) else "" for i in range(len(names))]
    head = "".join(f"<th {kind}>{name}</th>" for name, kind in zip(names, kinds))
    if paths is not None:
        kinds[paths] = 'class="path"'
    body = (
        "<tr>" + "".join(f"<td {kind}>{cell}</td>" for cell, kind in zip(row, kinds)) + "</tr>"
        for row in rows
    )
    return ['<div class="wide"><table>', f"<tr>{head}</tr>", *body, "</table></div>"]


def _number_cell(value: float) -> str:
    text = number(value)
    return text if math.isfinite(value) else f'<span class="odd">{text}</span>'


def _escape(text: str) -> str:
    return html_module.escape(text)


def number(value: float) -> str:
    """Four digits of it."""
    return f"{value:.4g}"


def setting(value: Any) -> str:
    """A value of the configuration, with schedules as Python would write them."""
    if isinstance(value, dict) and "class_name" in value and "config" in value:
        config = {k: v for k, v in (value["config"] or {}).items() if k != "name"}
        inner = ", ".join(f"{name}={setting(item)}" for name, item in config.items())
        return f"{value['class_name']}({inner})"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
