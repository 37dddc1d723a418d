"""Compiles a JAX function for an H100 on a machine without one, to count what XLA makes of it.

This needs three wheels that match JAX's version, in a separate folder. Call `use` before JAX is
imported.
"""

import importlib.metadata
import math
import os
import pathlib
import re
import subprocess
import sys
from typing import Any, NamedTuple
from unittest import mock

from benchmarks.command_line import UsageError

# What the compiler needs to know about the device. The CUDA version is that of the wheels.
_DEVICE = pathlib.Path(__file__).with_name("h100.txtpb")
# Two wheels have the version of JAX, the third any.
_OF_JAX, _NVCC = ("jax-cuda12-plugin", "jax-cuda12-pjrt"), "nvidia-cuda-nvcc-cu12"
_NO_KERNEL = {"bitcast", "constant", "get-tuple-element", "parameter", "tuple", "while"}


def use(folder: str) -> dict[str, str]:
    """Makes this process compile with the wheels in a folder. Returns their versions by name.

    Raises:
        UsageError: If JAX is not installed, or pip cannot install the wheels.
    """
    try:
        version = importlib.metadata.version("jax")
    except importlib.metadata.PackageNotFoundError as error:
        raise UsageError("this needs jax, which is not installed") from error
    found = _versions(folder)
    if _NVCC not in found or any(found.get(name) != version for name in _OF_JAX):
        needed = [*(f"{name}=={version}" for name in _OF_JAX), _NVCC]
        pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--upgrade", "--target", folder]
        if subprocess.run([*pip, *needed], stdout=sys.stderr).returncode:
            raise UsageError(
                f"pip cannot install {' '.join(needed)}. Received: --compiler={folder}"
            )
        found = _versions(folder)
    sys.path.append(folder)
    data = pathlib.Path(folder, "nvidia", "cuda_nvcc").absolute()
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_cuda_data_dir={data}"
    os.environ["JAX_PLATFORMS"] = "cpu"  # what is run, is run on the CPU
    return {name: found[name] for name in (*_OF_JAX, _NVCC)}


def _versions(folder: str) -> dict[str, str]:
    found = importlib.metadata.distributions(path=[folder])
    return {each.metadata["Name"].replace("_", "-"): each.version for each in found}


def compiled(function: Any, arguments: Any) -> Any:
    """Compiles a function that `jax.jit` returned, for arguments of the same shapes."""
    import jax
    from jax.experimental import topologies

    from keras_lars._backends import jax_update

    target = _DEVICE.read_text(encoding="utf-8")
    description = topologies.get_topology_desc(
        platform="cuda", topology_name="h100", topology="1x1x1", target_config=target
    )
    place = jax.sharding.SingleDeviceSharding(description.devices[0])
    arguments = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), arguments
    )
    with mock.patch.object(jax_update, "together", return_value=True):  # as on a GPU
        return function.trace(*arguments).lower(lowering_platforms=("cuda",)).compile()


class Instruction(NamedTuple):
    name: str
    shape: str
    operation: str
    operands: list[str]
    calls: list[str]  # computations: a fusion's, or a loop's condition and body


Program = dict[str, list[Instruction]]  # by computation; "ENTRY" is the main one


def program(text: str) -> Program:
    """Parses the instructions of a compiled program from its text."""
    found: Program = {}
    instructions: list[Instruction] = []
    for line in re.sub(r"/\*.*?\*/", "", text).splitlines():
        if start := re.match(r"(ENTRY )?%?(\S+) .*\{$", line):
            instructions = found.setdefault("ENTRY" if start[1] else start[2], [])
        elif parts := re.match(r"\s+(?:ROOT )?%(\S+) = (\(.*?\)|\S+) ([\w-]+)\((.*?)\)(.*)", line):
            name, shape, operation, operands, rest = parts.groups()
            calls = re.search(r"(calls|condition)=.*", rest)
            instructions.append(
                Instruction(name, shape, operation, _names(operands), _names(calls and calls[0]))
            )
    return found


def paths(found: Program) -> list[dict[str, int]]:
    """The kernels, copies and bytes moved by kernels, for each path through a program.

    There is one path. If there is a loop, there are two: it runs never or once.
    """
    entry = found["ENTRY"]
    ways = [entry]
    for loop in entry:
        if loop.operation == "while":
            ways.append(entry + [one for name in loop.calls for one in found[name]])
    return [_costs(found, instructions) for instructions in ways]


def _costs(found: Program, instructions: list[Instruction]) -> dict[str, int]:
    sizes = {each.name: _size(each.shape) for each in instructions}
    kernels = [each for each in instructions if each.operation not in _NO_KERNEL]
    fused = [one for each in kernels for name in each.calls for one in found.get(name, [])]
    # Copies of scalars, such as counters, do not matter.
    copies = [x for x in kernels + fused if x.operation == "copy" and "[]" not in x.shape]
    moved = [sizes[name] for each in kernels for name in (each.name, *each.operands)]
    return {"kernels": len(kernels), "copies": len(copies), "bytes": sum(moved)}


def _names(text: str | None) -> list[str]:
    return re.findall(r"%([\w.-]+)", text or "")


def _size(shape: str) -> int:
    """The bytes of all arrays in a shape such as `(f32[4,2]{1,0}, pred[])`."""
    arrays = re.findall(r"[a-z](\d*)\[([\d,]*)\]", shape)  # a boolean, "pred", has no bits
    return sum(
        int(bits or 8) // 8 * math.prod(int(length) for length in dimensions.split(",") if length)
        for bits, dimensions in arrays
    )
