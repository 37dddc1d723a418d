"""The page: findings in words, charts that a script draws, and tables, in one HTML file."""

import html
import json
import math
import pathlib
import re
import string
from collections.abc import Iterable, Sequence

from keras_lars._monitoring import anomalies
from keras_lars._monitoring.anomalies import Finding
from keras_lars._monitoring.history import History
from keras_lars._monitoring.variables import Variable
from keras_lars._words import counted

# Longer lists of names are folded.
_OPEN = 8


def page(
    path: pathlib.Path,
    history: History,
    drawn: History,
    findings: Sequence[Finding],
    noise: str = "",
) -> str:
    """The page of the record in a file. The charts show `drawn`, which is a part of it.

    `noise` is the section about gradient noise, if that was recorded.
    """
    parts = {
        "title": f"LARS, layer by layer: {_escape(path.absolute().parent.name)}",
        "summary": _summary(path, history, drawn),
        "noise": noise,
        "findings": _findings(findings, history.variables),
        "excluded": _excluded(len(history.unadapted)),
        "last": str(history.updates[-1]),
        "rate": number(history.global_learning_rate[-1]),
        "variables": _variables(history),
        "settings": _settings(history),
        "data": _data(drawn),
        "style": part("page.css"),
        "script": part("page.js"),
    }
    return string.Template(part("page.html")).substitute(parts)


def part(name: str) -> str:
    return pathlib.Path(__file__).with_name(name).read_text(encoding="utf-8")


def _data(history: History) -> str:
    """What the script draws, as JSON: numbers with four digits, null where nothing was recorded."""
    names = [variable.name for variable in history.variables]
    data = {
        "updates": history.updates.tolist(),
        "epochs": [x if math.isfinite(x) else None for x in history.epochs.tolist()],
        "learning_rate": [_rounded(x) for x in history.global_learning_rate.tolist()],
        "shared": len(shared_folder(names)),
        "variables": [
            {
                "name": variable.name,
                "adapted": variable.adapted is not False,
                "kind": {None: "", True: "kernel", False: "other"}[variable.is_matrix],
            }
            for variable in history.variables
        ],
    }
    for quantity in ("weight_norm", "gradient_norm", "trust_ratio"):
        rows = zip(getattr(history, quantity).tolist(), history.is_recorded.tolist())
        data[quantity] = [
            [_rounded(x) if is_recorded else None for x, is_recorded in zip(*row)] for row in rows
        ]
    # Nothing in a name may end the script.
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _rounded(value: float) -> float | str:
    """The value with four digits. JSON has no number for a value that is not finite."""
    return float(f"{value:.4g}") if math.isfinite(value) else str(value)


def shared_folder(names: Sequence[str]) -> str:
    """The leading parts that all paths share, except for the last part of a path."""
    if len(names) < 2:
        return ""
    shared = 0
    parts = [name.split("/") for name in names]
    while all(len(p) > shared + 1 for p in parts) and len({p[shared] for p in parts}) == 1:
        shared += 1
    return "".join(f"{part}/" for part in parts[0][:shared])


def _summary(path: pathlib.Path, history: History, drawn: History) -> str:
    first, last, records = history.updates[0], history.updates[-1], len(history.updates)
    span = f"Update {first}" if records == 1 else f"Updates {first} to {last}"
    begin, end = (number(history.epochs[i]) for i in (0, -1))
    epochs = f"epoch {begin}" if records == 1 else f"epochs {begin} to {end}"
    adapted = ""
    if history.description:
        share = f"{len(history.adapted)} of them" if history.unadapted else "all"
        adapted = f", {share} adapted"
    text = f"{span} in {counted(records, 'record')}, {epochs}; "
    text += f"{counted(len(history.variables), 'variable')}{adapted}."
    never = sum(not row.any() for row in history.is_recorded)
    if never:
        text += f" {counted(never, 'variable')} never recorded."
    if len(drawn.updates) < records:
        text += (
            f" The charts show {len(drawn.updates)} of the records: some at equal intervals, and "
            "the first of each finding."
        )
    lines = [f"<p>{text}</p>"]
    if history.description is None:
        lines.append(
            "<p>There is no <code>variables.json</code> beside the record, so settings, "
            "shapes and exclusions are not known: all variables are shown as adapted.</p>"
        )
    lines.append(f'<p class="quiet">Read from <code>{_escape(path.name)}</code>.</p>')
    return "\n".join(lines)


def _findings(findings: Sequence[Finding], variables: Sequence[Variable]) -> str:
    if not findings:
        return (
            "<p>Nothing: all recorded values are finite, no relevant norm is 0, no ratio jumped, "
            "no step was larger than its weight, and every adapted variable was recorded.</p>"
        )
    position = {variable.name: i for i, variable in enumerate(variables)}
    lines = ['<ul class="findings">']
    for kind, anomaly in anomalies.ANOMALIES.items():
        items = [
            f"<li>{_button(position[finding.variable], finding.variable)} "
            f"{anomalies.when(finding.updates)}</li>"
            for finding in findings
            if finding.kind == kind
        ]
        if items:
            listed = f"<ul>{''.join(items)}</ul>"
            if len(items) > _OPEN:
                count = counted(len(items), "variable")
                listed = f"<details><summary>{count}</summary>{listed}</details>"
            text = re.sub(
                "`(.+?)`", r"<code>\1</code>", _escape(f"{anomaly.what}. {anomaly.advice}")
            )
            lines.append(f"<li>{text} {listed}</li>")
    return "\n".join([*lines, "</ul>"])


def _excluded(count: int) -> str:
    if not count:
        return ""
    return (
        f"Variables excluded from adaptation ({count}) are not shown: their local learning rate is "
        "the learning rate times a constant."
    )


def _button(i: int, name: str) -> str:
    """A variable's name as a button that chooses the variable."""
    return f'<button type="button" class="name" data-variable="{i}">{_escape(name)}</button>'


def _variables(history: History) -> str:
    """A table with the last record of each variable, and its treatment if that is known."""
    quantities = {
        "weight norm": history.weight_norm,
        "gradient norm": history.gradient_norm,
        "trust ratio": history.trust_ratio,
        "local learning rate": history.local_learning_rate,
    }
    head = '<th>variable<th class="number">' + '<th class="number">'.join(quantities)
    if history.description:
        head += "<th>shape<th>adapted<th>decayed"
    rows = []
    for i, variable in enumerate(history.variables):
        cells = [f"<td>{_button(i, variable.name)}"]
        for values in quantities.values():
            text = _number_cell(values[i, -1]) if history.is_recorded[i, -1] else "none"
            cells.append(f'<td class="number">{text}')
        if history.description:
            cells += [
                f"<td>{_escape(str(variable.shape))}",
                f"<td>{_treatment(variable.adapted, variable.adaptation_rule)}",
                f"<td>{_treatment(variable.decayed, variable.decay_rule or 'weight_decay is 0')}",
            ]
        rows.append(f'<tr data-variable="{i}">{"".join(cells)}')
    return table(head, rows)


def _settings(history: History) -> str:
    if history.description is None:
        return ""
    settings = {**history.description.optimizer, **history.description.versions}
    rows = [
        f"<tr><td><code>{_escape(name)}</code><td>{_escape(setting(value))}"
        for name, value in settings.items()
    ]
    return "<h2>The optimizer</h2>\n" + table("<th>setting<th>value", rows, "wide wrapped")


def table(head: str, rows: Iterable[str], style: str = "wide") -> str:
    return "\n".join([f'<div class="{style}"><table>', f"<tr>{head}", *rows, "</table></div>"])


def _treatment(is_so: bool | None, rule: str) -> str:
    return "yes" if is_so else f"no: <code>{_escape(rule)}</code>"


def _number_cell(value: float) -> str:
    text = number(value)
    return text if math.isfinite(value) else f'<span class="odd">{text}</span>'


def _escape(text: str) -> str:
    return html.escape(text)


def number(value: float) -> str:
    """The value with four digits."""
    return f"{value:.4g}"


def setting(value: object) -> str:
    """A value of the configuration, with schedules as Python would write them."""
    if isinstance(value, dict) and "class_name" in value and "config" in value:
        config = {k: v for k, v in (value["config"] or {}).items() if k != "name"}
        inner = ", ".join(f"{name}={setting(item)}" for name, item in config.items())
        return f"{value['class_name']}({inner})"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
