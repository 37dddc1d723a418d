"""A network of machines, simulated on this one by network namespaces, whose links can be cut.

A process that creates a `Network` becomes its switch. A fork of it that calls `leave` is a machine.
If user namespaces are allowed, no root privileges are needed.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import subprocess
import sys

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000


class NoNamespacesError(Exception):
    """This machine does not allow network namespaces. The message is one line."""


def _unshare(flags):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        raise NoNamespacesError(f"unshare: {os.strerror(ctypes.get_errno())}")


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NoNamespacesError(f"{' '.join(command)}: {' '.join(done.stderr.split())}")


class Network:
    """The switch, and one link to each machine."""

    def __init__(self):
        if sys.platform != "linux" or not shutil.which("ip") or not shutil.which("nsenter"):
            raise NoNamespacesError("Linux with the commands ip and nsenter is needed")
        user, group = os.getuid(), os.getgid()
        _unshare(_NEW_USER | _NEW_NETWORK)
        try:
            pathlib.Path("/proc/self/setgroups").write_text("deny")
            pathlib.Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            pathlib.Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        except OSError as error:
            raise NoNamespacesError(f"{error.filename}: {error.strerror}") from error
        _run("ip", "link", "add", "switch", "type", "bridge")
        _run("ip", "link", "set", "switch", "up")

    def plug_in(self, index, process):
        """Gives a process that has called `leave` its end of a cable."""
        with contextlib.suppress(NoNamespacesError):  # the link of a former machine
            _run("ip", "link", "delete", f"link{index}")
        peer = ("type", "veth", "peer", "name", "cable", "netns", str(process))
        _run("ip", "link", "add", f"link{index}", *peer)
        self.mend(index)
        _run("ip", "link", "set", f"link{index}", "up")

    def cut(self, index):
        """Drops everything that the machine sends or is sent from now on, unseen by the machine."""
        _run("ip", "link", "set", f"link{index}", "nomaster")

    def mend(self, index):
        _run("ip", "link", "set", f"link{index}", "master", "switch")

    def part(self, *indices):
        """Separates these machines from each other, but not from others, until plugged in again."""
        for index in indices:
            _run("ip", "link", "set", f"link{index}", "type", "bridge_slave", "isolated", "on")

    def pull_out(self, process):
        """Cuts the link at the machine's own end, which the machine can see."""
        _run("nsenter", f"--target={process}", "--net", "ip", "link", "set", "cable", "down")


def address(index):
    return f"10.77.0.{index + 1}"


def leave():
    """Makes this process a machine without any network."""
    _unshare(_NEW_NETWORK)


def join(index):
    """Connects this process to the cable that was plugged in."""
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "address", "add", f"{address(index)}/24", "dev", "cable")
    _run("ip", "link", "set", "cable", "up")
