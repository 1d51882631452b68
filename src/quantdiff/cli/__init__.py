"""The command line, a file per command: a handler parses, calls one function, prints.

Status as Unix ``diff`` has it: 0 same or done, 1 different, 2 trouble.
"""

import os
import sys
from importlib import import_module
from pkgutil import iter_modules

from quantdiff.cli.command import main

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")

__all__ = ["console", "main"]


def console() -> None:
    """Run a command as a whole process.

    By then every file is closed and every child ended; taking TensorFlow apart object by object would only keep
    the person waiting for another half second.
    """
    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        if "tensorflow" in sys.modules and isinstance(end.code, int):
            os._exit(end.code)
        raise
