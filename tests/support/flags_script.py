"""Parses the flags of commands without running them, and prints their errors as a JSON list.

The argument is a JSON list of commands, each a list that begins with a module. Commands of
experiments also list what they would train. A command without an error has null in the list.
"""

import argparse
import contextlib
import io
import json
import runpy
import sys

from absl import app, flags


class _Parsed(Exception):  # noqa: N818 - not an error
    """The command line is valid: stop here."""


def _parse_absl(main, argv=None, flags_parser=None):
    argv = (flags_parser or flags.FLAGS)(argv or sys.argv)
    name = sys.modules["__main__"].__spec__.name
    if name.startswith("benchmarks.experiments.") and not flags.FLAGS.show:
        flags.FLAGS.dry_run = True
        main(argv)
    raise _Parsed


def _parse_argparse(parser, args=None, namespace=None):
    _, rest = argparse.ArgumentParser.parse_known_args(parser, args, namespace)
    if rest:
        parser.error(f"unrecognized arguments: {rest}")
    raise _Parsed


def fault(module, *arguments):
    """What is wrong with a command line, or None."""
    before, output = set(flags.FLAGS), io.StringIO()
    sys.argv = [module, *arguments]
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        return "it does nothing"
    except _Parsed:
        return None
    except SystemExit as end:
        return None if not end.code else f"{end.code} {output.getvalue()}"
    except (ImportError, flags.Error) as error:
        return str(error)
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)


app.define_help_flags()
app.run, argparse.ArgumentParser.parse_args = _parse_absl, _parse_argparse
print(json.dumps([fault(*command) for command in json.loads(sys.argv[1])]))
