"""The public API: what its pages, the fuzz tests and the tests of docstrings are about."""

import importlib
import inspect
import pkgutil
import types
from typing import Any

import keras_lars

# The lines of what has no docstring of its own.
LINES = {"__version__": "The version of the package."}


def own_names(module: types.ModuleType) -> list[str]:
    """What a module defines without an underscore."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def public_names(module: types.ModuleType) -> list[str]:
    return list(getattr(module, "__all__", own_names(module)))


def public_modules() -> dict[str, types.ModuleType]:
    """By name, the modules that are there to be used: not private, nor the home of a top name."""
    homes = {getattr(getattr(keras_lars, name), "__module__", None) for name in keras_lars.__all__}
    names = [module.name for module in pkgutil.iter_modules(keras_lars.__path__)]
    return {
        name: importlib.import_module(f"keras_lars.{name}")
        for name in sorted(names)
        if not name.startswith("_") and f"keras_lars.{name}" not in homes
    }


def members(name: str, value: Any) -> dict[str, Any]:
    """Methods and properties of a class that are for its users: those with an example."""
    if not inspect.isclass(value):
        return {}
    return {
        f"{name}.{member}": found
        for member, found in own_attributes(value).items()
        if not member.startswith("_") and ">>>" in (inspect.getdoc(found) or "")
    }


def own_attributes(value: type) -> dict[str, Any]:
    """What this package gives a class, in the class itself or in one that it is derived from."""
    found: dict[str, Any] = {}
    for each in value.__mro__:
        if each.__module__.startswith("keras_lars"):
            found = {**found, **{n: x for n, x in vars(each).items() if n not in found}}
    return found


def objects() -> dict[str, Any]:
    """By its name after `keras_lars.`, everything public."""
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
