"""``quantdiff`` as a process that meets the test: before a worker tries a group, and when a trial is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from handshake import reach

from quantdiff.api import experiments
from quantdiff.cli import console
from quantdiff.experiment.evaluate import attempt_all
from quantdiff.experiment.store import Store, Stored
from quantdiff.experiment.trial import Attempt, SweepTrial

ADD = Store.add


def attempt_and_tell(trials: Sequence[SweepTrial]) -> tuple[Attempt, ...]:
    reach("try")
    return attempt_all(trials)


def add_and_tell(self: Store, stored: Stored, on_locked: Callable[[], None]) -> None:
    ADD(self, stored, on_locked)
    reach("stored")


def main() -> None:
    setattr(experiments, "attempt_all", attempt_and_tell)  # noqa: B010 (the name is another module's)
    setattr(Store, "add", add_and_tell)  # noqa: B010
    console()
