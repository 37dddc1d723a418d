"""What commands share: flags, result files and one-line error messages."""

import contextlib
import dataclasses
import functools
import json
import math
import os
import pathlib
import re
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from absl import app, flags

from benchmarks.files import TEMPORARY
from benchmarks.settings import FlagSettings, RecipeError, kind_of

_CONTENT_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_LONGEST_WORD, _LONGEST_LINE = 200, 1000  # characters


class UsageError(RecipeError):
    """A command was called with wrong arguments. The message is one line."""


def run(main: Callable[[list[str]], int | None], arguments: str = "none") -> NoReturn:
    """Runs a command and exits with the status that `main` returns.

    `main` takes the name of the command and its arguments. A RecipeError, or an OSError such as a
    full disk, is reported in one line, with status 1. The arguments allowed besides flags are
    "none", "any", or a "command", which is everything after `--` and may have flags of its own.
    """

    def guarded(argv: list[str]) -> int | None:
        try:
            return main(argv)
        except BrokenPipeError:
            # The reader, such as `head`, has closed the pipe. That is no error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (RecipeError, OSError) as error:
            fail(error)

    app.run(guarded, flags_parser=functools.partial(_parse, arguments))


def interrupt_at_sigterm() -> None:
    """Lets SIGTERM interrupt the process like Ctrl-C, but once: a scheduler may send it twice."""

    def interrupt(number: int, frame: Any) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:
        signal.signal(signal.SIGTERM, interrupt)


def _parse(arguments: str, argv: list[str]) -> list[str]:
    end = argv.index("--") if arguments == "command" and "--" in argv else len(argv)
    for flag in _own_flags():
        # By default `--helpshort` shows only what the main module defines, which absl knows by this
        # name.
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
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
    """Exits with a one-line message. Long values are shortened to their beginning and end."""
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
    """Defines a flag for each field, with its default or with None, so that `given` omits it."""
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
    """The values of the flags that `define_flags_of` defined, without those that are None.

    Raises:
        UsageError: If a list of numbers has an element that is no number.
    """
    values = {}
    for field in dataclasses.fields(settings):
        value, (kind, several) = flags.FLAGS[field.name].value, kind_of(field)
        if value is not None and several and kind is not str:
            try:
                value = tuple(map(kind, value))
            except ValueError as error:
                what = "integers" if kind is int else "numbers"
                raise UsageError(
                    f"--{field.name} must be {what} separated by commas. "
                    f"Received: {','.join(value)}"
                ) from error
        if value is not None:
            values[field.name] = value
    return values


def _own_flags() -> list[flags.Flag]:
    """The flags that the benchmarks define."""
    by_module = flags.FLAGS.flags_by_module_dict()
    return [
        flag
        for module, defined in by_module.items()
        if module.startswith("benchmarks.") or module == sys.argv[0]
        for flag in defined
    ]


def check_flags() -> None:
    """Raises UsageError for values that are wrong for any flag.

    absl accepts NaN and infinity within any bounds; here infinity is allowed only as a default.
    Integers of more than 64 bits and empty strings and lists would cause errors much later.
    """
    for flag in _own_flags():
        if flag.present:
            values = flag.value if isinstance(flag.value, (list, tuple)) else [flag.value]
            rules = [None if values else "not be empty"]
            rules += [_broken_rule(value, flag) for value in values]
            rules += ["not repeat a value" if len({*values}) < len(values) else None]
            if rule := next(filter(None, rules), None):
                received = repr(flag.value) if isinstance(flag.value, str) else flag.value
                raise UsageError(f"--{flag.name} must {rule}. Received: {received}")
    _check_files()


def _broken_rule(value: Any, flag: flags.Flag) -> str | None:
    if isinstance(value, float) and not math.isfinite(value) and value != flag.default:
        return "be a finite number"
    if isinstance(value, int) and abs(value) >= 2**63:
        return "be below 2**63"
    if isinstance(value, str) and not value.strip() and value != flag.default:
        return "not be empty"
    if isinstance(value, str) and not value.isprintable():
        return "be one line of printable text"
    return None


def _check_files() -> None:
    """Raises UsageError if results cannot be written, before hours of training and not after."""
    for name in ("output", "plot", "plot_rates"):
        path = flags.FLAGS[name].value if name in flags.FLAGS else None
        if not path or ("output_dir" in flags.FLAGS and name != "output"):  # the folder is created
            continue
        folder = pathlib.Path(path).absolute().parent
        if not os.path.isdir(folder):
            raise UsageError(f"--{name} must be in an existing folder. Received: {path}")
        if os.path.isdir(path) or not os.access(folder, os.W_OK):
            raise UsageError(f"--{name} must be a writable file. Received: {path}")
        if len(os.fsencode(pathlib.Path(path).name)) > 255 - len(TEMPORARY):
            raise UsageError(f"--{name} must have a shorter file name. Received: {path}")


def read_json(path: str | os.PathLike[str], flag: str) -> Any:
    """The content of a JSON file, which may begin with a byte-order mark.

    Raises:
        UsageError: If it cannot be read, is not JSON, or holds text that cannot be printed.
    """
    try:
        value = json.loads(pathlib.Path(path).read_text(encoding="utf-8-sig"))
        json.dumps(value, ensure_ascii=False).encode()  # JSON allows lone surrogates
        return value
    except OSError as error:
        raise UsageError(f"{flag} cannot be read: {error.strerror}. Received: {path}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{flag} must be a result file ({error}). Received: {path}") from error


@contextlib.contextmanager
def results_of(path: str | os.PathLike[str], flag: str) -> Iterator[None]:
    """Reports an error in the block as a file that does not hold results of this command.

    Raises:
        UsageError: In place of that error.
    """
    try:
        yield
    except RecipeError:
        raise
    except (*_CONTENT_ERRORS, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"{flag} must be a result file of this command ({why}). Received: {path}"
        ) from error
