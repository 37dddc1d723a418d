"""The public API, for its pages, the fuzz tests and the tests of docstrings."""

import importlib
import inspect
import pkgutil
import types
from typing import Any

import keras_lars

# Descriptions of names that have no docstring.
LINES = {"__version__": "The version of the package."}


def own_names(module: types.ModuleType) -> list[str]:
    """The names that a module defines, without private ones."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def public_names(module: types.ModuleType) -> list[str]:
    return list(getattr(module, "__all__", own_names(module)))


def public_modules() -> dict[str, types.ModuleType]:
    """The public modules by name: not private, and not the source of a top-level name."""
    homes = {getattr(getattr(keras_lars, name), "__module__", None) for name in keras_lars.__all__}
    names = [module.name for module in pkgutil.iter_modules(keras_lars.__path__)]
    return {
        name: importlib.import_module(f"keras_lars.{name}")
        for name in sorted(names)
        if not name.startswith("_") and f"keras_lars.{name}" not in homes
    }


def members(name: str, value: Any) -> dict[str, Any]:
    """The methods and properties of a class that are meant for users: those with an example."""
    if not inspect.isclass(value):
        return {}
    return {
        f"{name}.{member}": found
        for member, found in own_attributes(value).items()
        if not member.startswith("_") and ">>>" in (inspect.getdoc(found) or "")
    }


def own_attributes(value: type) -> dict[str, Any]:
    """The attributes that this package defines for a class, in the class or in a base class."""
    found: dict[str, Any] = {}
    for each in value.__mro__:
        if each.__module__.startswith("keras_lars"):
            found = {**found, **{n: x for n, x in vars(each).items() if n not in found}}
    return found


def objects() -> dict[str, Any]:
    """All public objects, by their names after `keras_lars.`."""
    modules = public_modules()
    found = {n: getattr(keras_lars, n) for n in keras_lars.__all__ if n not in modules}
    for prefix, module in modules.items():
        found[prefix] = module
        found.update({f"{prefix}.{n}": getattr(module, n) for n in public_names(module)})
    return {
        name: value
        for outer, holder in found.items()
        for name, value in {outer: holder, **members(outer, holder)}.items()
    }
