"""The command line, a file per command: a handler parses, calls one function, prints.

Status as Unix ``diff`` has it: 0 same or done, 1 different, 2 trouble.
"""

from importlib import import_module
from pkgutil import iter_modules

from quantdiff.cli.command import main

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")

__all__ = ["main"]
