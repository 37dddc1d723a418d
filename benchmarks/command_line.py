"""Flags of a command, with one line and no help text where one is wrong."""

import sys

from absl import flags


def parse(argv: list[str]) -> list[str]:
    """Parses flags; nothing else may be on the command line. For `app.run(flags_parser=...)`."""
    show_in_help()
    try:
        rest = flags.FLAGS(argv)
        if len(rest) > 1:
            raise flags.Error(f"unknown argument {rest[1]}")
        return rest
    except flags.Error as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


def show_in_help() -> None:
    """Has `--helpshort` show all flags that the benchmarks define.

    By itself it shows those of the main module, and modules define flags for several commands.
    """
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module.startswith("benchmarks."):
            for flag in defined:
                # By that name absl knows the main module.
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
