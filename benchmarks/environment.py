"""Versions and device of a benchmark.

Of the frameworks it imports only Keras's backend, so that it works where others are not installed.
"""

import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Sequence


def record(*modules: str, distributions: Sequence[str] = ()) -> dict[str, dict]:
    """The `versions` and the `device`, as result files hold them."""
    return {"versions": versions(*modules, distributions=distributions), "device": device()}


def versions(*modules: str, distributions: Sequence[str] = ()) -> dict[str, str]:
    """The versions of Python, this package, Keras, NumPy and more modules, which it imports.

    Those of distributions are added without importing them.
    """
    # Read from the modules, because TensorFlow's distribution has several names.
    names = ("keras_lars", "keras", "numpy", *modules)
    found = {name: importlib.import_module(name).__version__ for name in names}
    installed = {name: importlib.metadata.version(name) for name in distributions}
    return {"python": platform.python_version(), **found, **installed}


def device() -> dict:
    """Keras's backend, its accelerators and the machine."""
    import keras

    backend = keras.backend.backend()
    machine = {"processor": _processor(), "cores": os.cpu_count()}
    return {"backend": backend, "accelerators": _accelerators(backend), **machine}


def in_words(versions: dict, device: dict) -> str:
    """What `versions` and `device` returned, in one line."""
    place = ", ".join(device["accelerators"]) or f"{device['cores']} x {device['processor']}"
    return f"{place}; " + ", ".join(f"{name} {version}" for name, version in versions.items())


def _accelerators(backend: str) -> list[str]:
    if backend == "tensorflow":
        import tensorflow as tf

        details = tf.config.experimental.get_device_details
        gpus = tf.config.list_physical_devices("GPU")
        return [details(gpu).get("device_name", gpu.name) for gpu in gpus]
    if backend == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    import torch

    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _processor() -> str:
    try:  # on Linux, `platform.processor` returns nothing useful
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
