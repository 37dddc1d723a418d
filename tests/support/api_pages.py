"""Writes `docs/api` from the docstrings: `PYTHONPATH=.:tests python -m support.api_pages`.

Each public class and function has a page, with the methods and properties that have an example.
`README.md` lists them all.
"""

import inspect
import re
from typing import Any

from support import ROOT, public_api

FOLDER = ROOT / "docs" / "api"
CODE = "```pycon\n\\1\n```"
SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Example", "Reference")
INTRODUCTION = """\
# API

These pages are generated from the docstrings. Everything listed here is public. Names with an
underscore, and modules that are not listed, may change at any time. The package is typed: mypy
catches misspelled arguments and invalid values."""


def signature(name: str, value: Any) -> str:
    """The call with its defaults; empty if not callable. The docstring gives the types."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    parameters = [p.replace(annotation=p.empty) for p in found.parameters.values()]
    parameters = [p for p in parameters if p.name != "self"]
    call = f"{name}{found.replace(parameters=parameters, return_annotation=found.empty)}"
    call = call.replace("'", '"')
    if len(call) > 88:
        call = re.sub(r"\((.*)\)$", r"(\n    \1,\n)", call).replace(", ", ",\n    ")
    return f"```python\n{call}\n```"


def items(text: str) -> str:
    """A section as a Markdown list; text that belongs to an item is indented by 4 instead of 8.

    With this indentation, every Markdown renderer makes the text a part of the item.
    """

    def item(match: re.Match[str]) -> str:
        names = match[1].replace("`", "").split(", ")
        return "-   " + ", ".join(f"`{name}`" for name in names) + ":"

    text = re.sub(r"^ {4}(\S[^:\n]*):", item, text, flags=re.M)
    return re.sub(r"^ {4}", "", text, flags=re.M)


def sections(docstring: str, heading: str) -> str:
    """A docstring with a heading above each section, and with its examples as code blocks."""
    prose, *rest = re.split(rf"^({'|'.join(SECTIONS)}):\s", docstring, flags=re.M)
    parts = [prose]
    for title, text in zip(rest[::2], rest[1::2]):
        if title == "Example":
            text = re.sub(r"^(>>>.*?)(?=\n\n|\Z)", CODE, text.strip(), flags=re.M | re.S)
        elif title in ("Args", "Attributes", "Raises"):
            text = items(text)
        else:
            text = re.sub(r"^ {4}", "", text, flags=re.M)
        parts.append(f"{heading} {title}\n\n{text}")
    return "\n\n".join(part.strip("\n") for part in parts)


def with_links(text: str, files: set[str]) -> str:
    """The text with links from the public names in its prose to their pages."""

    def link(match: re.Match[str]) -> str:
        return f"[{match[0]}]({match[1]}.md)" if f"{match[1]}.md" in files else match[0]

    parts = re.split(r"(```.*?```)", text, flags=re.S)
    parts[::2] = [re.sub(r"`keras_lars\.([\w.]+)(\([^`]*\))?`", link, part) for part in parts[::2]]
    return "".join(parts)


def page(name: str, value: Any, members: dict[str, Any]) -> str:
    """The page of a class or function, with its public methods and properties."""
    parts = [f"# keras_lars.{name}", signature(f"keras_lars.{name}", value)]
    parts.append(sections(inspect.getdoc(value), "##"))
    for member, each in members.items():
        parts += [f"## {member}", signature(member, each), sections(inspect.getdoc(each), "###")]
    return "\n\n".join(filter(None, parts)) + "\n"


def row(name: str, value: Any, target: str = "") -> str:
    cell = f"[`{name}`]({target})" if target else f"`{name}`"
    return f"| {cell} | {public_api.LINES.get(name) or inspect.getdoc(value).splitlines()[0]} |"


def pages() -> dict[str, str]:
    """The text of each page, by file name."""
    objects, modules = public_api.objects(), public_api.public_modules()

    def held(holder: str) -> dict[str, Any]:
        split = {name: name.rpartition(".") for name in objects if name not in modules}
        return {last: objects[name] for name, (first, _, last) in split.items() if first == holder}

    found, contents = {}, [INTRODUCTION]
    for module in ("", *modules):
        rows = ["| `keras_lars.` | |", "|---|---|"]
        for last, value in held(module).items():
            name = f"{module}.{last}".removeprefix(".")
            members = held(name) if inspect.isclass(value) else {}
            if callable(value):
                found[f"{name}.md"] = page(name, value, members)
            rows.append(row(name, value, f"{name}.md" if callable(value) else ""))
            rows += [row(f"{name}.{m}", each, f"{name}.md#{m}") for m, each in members.items()]
        if module:
            contents += [f"## keras_lars.{module}", inspect.getdoc(modules[module])]
        contents.append("\n".join(rows))
    found = {file: with_links(text, {*found} - {file}) for file, text in found.items()}
    return {"README.md": "\n\n".join(contents) + "\n", **found}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    found = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in found:
            path.unlink()
    for name, text in found.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
