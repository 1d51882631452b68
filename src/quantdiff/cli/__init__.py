"""The command line, a file per kind of question: a handler parses, calls one function, prints.

Status as Unix ``diff`` has it: 0 same or done, 1 different, 2 trouble.
"""

import codecs
import contextlib
import io
import os
import sys
import warnings
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import click

from quantdiff.cli.command import main, status_of
from quantdiff.cli.telling import BROKEN_PIPE, TROUBLE, ReaderGone, complain, refusal

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")

__all__ = ["console", "main"]


PLAIN = {
    "→": "->", "←": "<-", "≤": "<=", "≥": ">=", "×": "x", "−": "-", "–": "-", "…": "...", "√": "sqrt", "’": "'",
    "·": "*", "²": "^2", "±": "+-", "Σ": "sum", "δ": "delta", "Δ": "delta",
}  # fmt: skip
"""What stands for a character that the encoding of a console lacks, as cp1252 does; others are escaped."""


def console() -> None:
    """Run a command as a whole process.

    By then every file is closed and every child ended; taking TensorFlow apart object by object would only keep
    the person waiting for another half second.
    """
    _open_streams()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # of NumPy and others, about values: what a result needs stands in the result
    status = _delivered(_status())
    if "tensorflow" in sys.modules:
        os._exit(status)
    sys.exit(status)


class StandardOutput(io.FileIO):
    """Standard output that says of an error whose it is."""

    def write(self, data: Any) -> int:
        """As ``FileIO``.

        Raises:
            ReaderGone: the pipe is closed; of a plain ``BrokenPipeError`` others make status 1, "different".
            OSError: the system refuses; ``filename`` names the stream.
        """
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise ReaderGone from error
        except OSError as error:
            error.filename = "standard output"
            raise


def _open_streams() -> None:
    """Give a standard stream that is closed a descriptor, lest the next file that is opened becomes that stream.

    Standard output gets one that refuses what is written, so that nobody takes silence for a result.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    before = sys.stdout
    encoding, errors = (before.encoding, before.errors) if before is not None else ("utf-8", "strict")
    raw = io.BufferedWriter(StandardOutput(1, "w", closefd=False))
    codecs.register_error("plain", _in_plain)
    errors = "plain" if errors == "strict" else errors
    sys.stdout = io.TextIOWrapper(raw, encoding, errors, line_buffering=raw.isatty())
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (as long as the process)


def _in_plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(each) or each.encode("unicode_escape").decode() for each in lacking), error.end


def _status() -> int:
    try:
        return int(main(prog_name="quantdiff", standalone_mode=False) or 0)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else TROUBLE
    except click.exceptions.NoArgsIsHelpError as error:  # the command alone: its message is the help
        with contextlib.suppress(OSError):
            error.show()
        return TROUBLE
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = "" if context is None else f" See: {context.command_path} --help"
        return complain(error.format_message() + hint)
    except click.Abort:
        return status_of(KeyboardInterrupt())
    except (ReaderGone, OSError) as error:  # of ``--help``, which no handler prints
        return _lost(error)


def _delivered(status: int) -> int:
    """The status when all output has left, which is trouble where it could not."""
    try:
        sys.stdout.flush()
    except (ReaderGone, OSError) as error:
        status = _lost(error) if status in (0, 1) else status
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left goes nowhere when Python closes the stream
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    return status


def _lost(error: Exception) -> int:
    return complain(refusal(error)) if isinstance(error, OSError) else BROKEN_PIPE
