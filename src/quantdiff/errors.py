"""Every error that a user can meet: each message says what, where and how to go on."""

from __future__ import annotations

LONGEST = 300  # characters of somebody else's message


def reason_of(error: BaseException) -> str:
    """What went wrong in one line: the first line of a message, cut between two words where it is very long."""
    said = getattr(error, "strerror", None) or error  # of what the system refuses, without its number
    lines = str(said).strip().splitlines() or [type(error).__name__]
    first = lines[0].strip()
    return first if len(first) <= LONGEST else first[:LONGEST].rpartition(" ")[0].rstrip(",;:. ") + " …"


class QuantdiffError(Exception):
    """Root of the tree: whoever catches this catches all that ``quantdiff`` raises on purpose."""


class BadModel(QuantdiffError):
    """A model file that is missing, damaged, or not what its name says."""


class BadData(QuantdiffError):
    """Data that cannot be fed to the model: shape, type, NaN, an empty set, an unreadable file."""


class NoSuchTensor(QuantdiffError):
    """A pattern that names no tensor of the model."""


class BadExpression(QuantdiffError):
    """A ``--fail-on``, ``--until`` or ``--check`` expression that names no metric, or cannot be answered."""


class BadMetric(QuantdiffError):
    """A metric of the user's own that cannot be called, fails, or gives no numbers."""


class NotComparable(QuantdiffError):
    """Two results that cannot be held against each other."""


class MissingExtra(QuantdiffError):
    """A package of an optional extra is not installed."""


class RuntimeFailed(QuantdiffError):
    """A runtime refused the model, crashed or hung; the message names runtime, model and reason."""


class RuntimeUnavailable(RuntimeFailed):
    """The runtime asked for is not installed here."""


class BadConfiguration(QuantdiffError):
    """A ``quantdiff.toml`` or ``pyproject.toml`` that says something else than how workers are started."""


class BadProfile(QuantdiffError):
    """A profile of a device that cannot be read, or names rules that there are not."""


class RootNotMade(QuantdiffError):
    """The folder with Python and LiteRT for another architecture cannot be made."""


class NotSimulated(QuantdiffError):
    """The simulator has no rules for the runtime asked for."""


class NoWorker(RuntimeFailed):
    """What a command started does not talk as a worker does."""


class RuntimeCrashed(RuntimeFailed):
    """The runtime's process ended by a signal while it ran the model."""


class RuntimeHung(RuntimeFailed):
    """The runtime said nothing for longer than the time limit and was ended."""


class UnsupportedOp(QuantdiffError):
    """An operator that has no kernel here; the message names it with its index."""


class NoSuchElement(QuantdiffError):
    """An operator, a sample or an element that the model or the data do not have."""


class NotConfirmed(QuantdiffError):
    """A runtime gave something else than was claimed, so nothing is claimed."""
