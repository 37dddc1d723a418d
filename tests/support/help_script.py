"""Runs commands with `--helpshort`, and prints their output and flags as JSON, by module."""

import contextlib
import io
import json
import runpy
import sys

from absl import app, flags


def asked(module):
    before, output = set(flags.FLAGS), io.StringIO()
    sys.argv = [module, "--helpshort"]
    defined = []
    try:
        with contextlib.redirect_stdout(output):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit:
        pass
    finally:
        for name in set(flags.FLAGS) - before:
            if flags.FLAGS.find_module_defining_flag(name).startswith(("benchmarks.", "/")):
                defined.append(name)
            delattr(flags.FLAGS, name)
    return {"said": output.getvalue(), "flags": sorted(defined)}


app.define_help_flags()
print(json.dumps({module: asked(module) for module in json.loads(sys.argv[1])}))
