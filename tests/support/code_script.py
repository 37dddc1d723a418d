"""Runs the code that is its first argument, as `python -c CODE ARGUMENT...` would."""

import sys

code = sys.argv.pop(1)
exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
