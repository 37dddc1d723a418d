"""What commands have in common: flags, files of results, and one line for a mistake."""

import contextlib
import dataclasses
import functools
import json
import math
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from absl import app, flags

from benchmarks.settings import FlagSettings, RecipeError, kind_of

_LARGEST_INTEGER = 2**63 - 1
_OF_SOMETHING_ELSE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_LONGEST_WORD, _LONGEST_LINE = 200, 1000  # characters


class UsageError(RecipeError):
    """A mistake in a command: the message is one line."""


def run(main: Callable[[list[str]], int | None], arguments: str = "none") -> NoReturn:
    """Runs a command: what `main` returns is its exit status, which is 1 after a mistake.

    A mistake, which is a RecipeError, or an OSError such as a full disk, is reported in one line.

    Args:
        main: Takes the name of the command, and its arguments.
        arguments: What there may be besides flags: "none"; "any"; "command", which is all that
            stands behind `--`, with flags of its own.
    """

    def guarded(argv: list[str]) -> int | None:
        try:
            return main(argv)
        except BrokenPipeError:
            # Whoever reads the output, as `head` does, has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (RecipeError, OSError) as error:
            fail(error)

    app.run(guarded, flags_parser=functools.partial(_parse, arguments))


def _parse(arguments: str, argv: list[str]) -> list[str]:
    end = argv.index("--") if arguments == "command" and "--" in argv else len(argv)
    show_in_help()
    try:
        rest = flags.FLAGS(argv[:end])
        if len(rest) > 1 and arguments != "any":
            hint = "; the command comes after --" if arguments == "command" else ""
            raise flags.Error(f"unknown argument {rest[1]}{hint}")
        check_flags()
        return rest + argv[end + 1 :]
    except (flags.Error, UsageError) as error:
        fail(error)


def fail(error: BaseException | str) -> NoReturn:
    """Exits with one line, in which long values are shortened to their beginning and end."""
    text = " ".join(str(error).split())
    text = re.sub(
        rf"\S{{{_LONGEST_WORD},}}", lambda word: f"{word[0][:80]} ... {word[0][-80:]}", text
    )
    sys.exit(f"error: {text[:_LONGEST_LINE]}")


_DEFINE: dict[Any, Callable[..., Any]] = {
    bool: flags.DEFINE_boolean,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
}


def define_flags_of(settings: type[FlagSettings], with_defaults: bool = False) -> None:
    """A flag for each field.

    Args:
        settings: Of whose fields.
        with_defaults: Whether the flags have the defaults of the fields; else None, which is that
            the flag was not given.
    """
    for field in dataclasses.fields(settings):
        name, help = field.name, field.metadata["help"]
        has_default = with_defaults and field.default is not dataclasses.MISSING
        default: Any = field.default if has_default else None
        kind, several = kind_of(field)
        if several:
            flags.DEFINE_list(name, default and list(default), help)
        elif choices := field.metadata["choices"]:
            flags.DEFINE_enum(name, default, list(choices), help)
        else:
            _DEFINE.get(kind, flags.DEFINE_string)(name, default, help)


def given(settings: type[FlagSettings]) -> dict[str, Any]:
    """The fields of which `define_flags_of` made flags, as far as they were given.

    Raises:
        UsageError: If what should be numbers is something else.
    """
    values = {}
    for field in dataclasses.fields(settings):
        value, (kind, several) = flags.FLAGS[field.name].value, kind_of(field)
        if value is not None and several and kind is not str:
            try:
                value = tuple(map(kind, value))
            except ValueError as error:
                rule = f"be {kind.__name__}s with commas between them"
                received = ",".join(value)
                raise UsageError(f"--{field.name} must {rule}. Received: {received}") from error
        if value is not None:
            values[field.name] = value
    return values


def show_in_help() -> None:
    """Has `--helpshort` show all flags that the benchmarks define.

    By itself it shows those of the main module, and modules define flags for several commands.
    """
    for flag in _own_flags():
        # By that name absl knows the main module.
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _own_flags() -> list[flags.Flag]:
    by_module = flags.FLAGS.flags_by_module_dict()
    return [
        flag
        for module, defined in by_module.items()
        if module.startswith("benchmarks.") or module == sys.argv[0]
        for flag in defined
    ]


def check_flags() -> None:
    """Raises UsageError for a value that no flag can mean.

    For absl, NaN is within all bounds, and so is infinity, which only a default may be. Integers of
    more than 64 bits, and empty text and lists, lead to errors much later.
    """
    for flag in _own_flags():
        if flag.present:
            values = flag.value if isinstance(flag.value, (list, tuple)) else [flag.value]
            rule = "not be empty" if not values else None
            rule = rule or next(filter(None, (_broken_rule(value, flag) for value in values)), None)
            rule = rule or ("hold each value once" if len({*values}) < len(values) else None)
            if rule:
                raise UsageError(f"--{flag.name} must {rule}. Received: {_received(flag.value)}")
    _check_files()


def _broken_rule(value: Any, flag: flags.Flag) -> str | None:
    if isinstance(value, float) and not math.isfinite(value) and value != flag.default:
        return "be a finite number"
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return "be below 2**63"
    if isinstance(value, str) and not value.strip() and value != flag.default:
        return "not be empty"
    if isinstance(value, str) and not value.isprintable():
        return "be printable text in one line"
    return None


def _received(value: Any) -> str:
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return f"about 10**{value.bit_length() * math.log10(2):.0f}"
    return repr(value) if isinstance(value, str) else str(value)


def _check_files() -> None:
    """Raises UsageError if results cannot be written: before hours of training, not after."""
    for name in ("output", "plot", "plot_rates"):
        path = flags.FLAGS[name].value if name in flags.FLAGS else None
        if not path or ("output_dir" in flags.FLAGS and name != "output"):  # a folder that is made
            continue
        folder = pathlib.Path(path).absolute().parent
        if not os.path.isdir(folder):
            raise UsageError(f"--{name} must be in a folder that is there. Received: {path}")
        if os.path.isdir(path) or not os.access(folder, os.W_OK):
            raise UsageError(f"--{name} must be a file that can be written. Received: {path}")
        if len(os.fsencode(pathlib.Path(path).name)) > 255 - len(".temporary"):
            raise UsageError(f"--{name} must have a shorter name. Received: {path}")


def read_json(path: str | os.PathLike[str], flag: str) -> Any:
    """What a file of JSON holds, which may begin with a byte-order mark.

    Raises:
        UsageError: If it cannot be read, is no JSON, or holds text that cannot be printed.
    """
    try:
        value = json.loads(pathlib.Path(path).read_text(encoding="utf-8-sig"))
        json.dumps(value, ensure_ascii=False).encode()  # JSON can say halves of characters
        return value
    except OSError as error:
        raise UsageError(f"{flag} cannot be read: {error.strerror}. Received: {path}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{flag} must be a file of results ({error}). Received: {path}") from error


@contextlib.contextmanager
def results_of(path: str | os.PathLike[str], flag: str) -> Iterator[None]:
    """Inside, an error means that a file holds something other than results of the command.

    Raises:
        UsageError: In place of that error.
    """
    try:
        yield
    except RecipeError:
        raise
    except (*_OF_SOMETHING_ELSE, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"{flag} must be a file of results of this command ({why}). Received: {path}"
        ) from error
