"""Runs the code in its first argument, like `python -c CODE ARGUMENT...`."""

import sys

code = sys.argv.pop(1)
exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
