"""What ``reduce`` gives."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from quantdiff.search.anonymous import Anonymous
from quantdiff.search.fault import Fault
from quantdiff.search.reduce import Found, Search


@dataclass(frozen=True, slots=True)
class Reduction:
    """What is left of a model and its data.

    Attributes:
        check: what was asked for.
        before: what the whole says, ``max_steps is 7``.
        search: the part that is left, what it says, and how long that took.
        fault: asks again, and knows the command that does.
        operators: of the whole.
        samples: of the data.
        size: bytes of the whole.
        data: where the samples come from.
        anonymous: the same without names and weights, where that was asked for.
    """

    check: str
    before: str
    search: Search
    fault: Fault
    operators: int
    samples: int
    size: int
    data: str = ""
    anonymous: Anonymous | None = None

    @property
    def left(self) -> Found:
        """What is written: the anonymous one where that was asked for."""
        return self.search.found if self.anonymous is None else self.anonymous.found

    def line(self, folder: Path) -> str:
        """The command that shows it again."""
        return shlex.join(self.fault.command(folder))
