"""Flags of a command, with one line and no help text where one is wrong."""

import sys

from absl import flags


def parse(argv: list[str]) -> list[str]:
    """Parses flags; nothing else may be on the command line. For `app.run(flags_parser=...)`."""
    try:
        rest = flags.FLAGS(argv)
        if len(rest) > 1:
            raise flags.Error(f"unknown argument {rest[1]}")
        return rest
    except flags.Error as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
