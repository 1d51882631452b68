"""The simulator held against real runtimes, on data of any size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quantdiff.api.engines import DEFAULTS, Settings
from quantdiff.api.parts import ask, stream_of
from quantdiff.compare.verdict import Verdict, Verification
from quantdiff.compare.verification import load_and_verify, names_of, verify_inputs
from quantdiff.graph import Model
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.run.data_in_parts import InParts, Part
from quantdiff.run.inputs import inputs_of, load_data
from quantdiff.run.random_input import SAMPLES, SEED, random_inputs, samples_for
from quantdiff.run.runner import Progress, silent, started
from quantdiff.run.runtimes import OF_A_FILE, entry_of, versions

ANY = 2**31
"""Samples: as many as memory bears."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """How much is verified, and on what where there are no data.

    Attributes:
        samples: how many; None: all of ``InParts``, else as many as fit into memory at once, 64 of random ones.
        seed: of random input.
    """

    samples: int | None = None
    seed: int = SEED


def verify(
    model: str | Path,
    data: str | Path | Batch | InParts | None = None,
    settings: Settings = DEFAULTS,
    drawn: Drawn = Drawn(),
    progress: Progress = silent,
) -> Verification:
    """Hold the simulator against every runtime of ``settings``, operator by operator; without data, on random input.

    The rules of each kernel and where they come from stand in ``docs/numerics.md``.

    Args:
        model: the ``.tflite`` file.
        data: samples along axis 0, in real units, of which as many are taken as fit into memory at once; or
            ``InParts``, all of these, part by part; seeded random input over the whole range when left out.
        settings: the runtimes and the time limit, in seconds.
        drawn: how many samples, and the seed of random ones.
        progress: called with what is done, how much of it, and how much there is.

    Returns:
        A verdict per runtime, with elements compared and mismatches of every operator.

    Raises:
        QuantdiffError: the model or the data cannot be read, or do not fit each other. A runtime that fails has
            that as its verdict.
    """
    path = Path(model)
    if isinstance(data, InParts):
        if data.on is not None or len(data.data) > 1 or not _dumps(names_of(settings.runtimes)):
            return _in_parts(path, data, settings, drawn, progress)
        data = load_data(data.data[0], path, data.images, data.audio) if data.data else None
    given = Path(data) if isinstance(data, str) else data
    how = settings.runtimes, settings.timeout
    return load_and_verify(path, *how, given, drawn.samples, drawn.seed, progress=progress)


def _dumps(names: Sequence[str]) -> list[str]:
    """The runtimes that know the samples that were recorded, and no others."""
    return [name for name in names if entry_of(name).module == OF_A_FILE["recorded"]]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """A verdict for each runtime; those of parts of the data add up."""

    by_name: Mapping[str, Verdict]

    def __add__(self, other: Verdicts) -> Verdicts:
        return Verdicts({name: ours + other.by_name[name] for name, ours in self.by_name.items()})


@dataclass(frozen=True, slots=True)
class ReadyVerify:
    """A model that was read; ``drawn``: the data are its inputs as they are stored."""

    model: Model
    runtimes: tuple[str, ...]
    timeout: float
    drawn: bool
    grain: int

    @property
    def undivided(self) -> str:
        """Why the data cannot be parted; empty where they can."""
        dumps = _dumps(self.runtimes)
        return f"{dumps[0]}: a dump has all samples at once" if dumps else stream_of(self.model)

    def answer(self, part: Part, progress: Progress) -> Verdicts:
        """What every runtime gives for the samples of a part."""
        batch = part.read()
        inputs = [*batch.arrays.values()] if self.drawn else inputs_of(self.model, batch)
        profiles = {name: started(name, self.timeout) for name in self.runtimes if entry_of(name).file}
        found = verify_inputs(self.model, inputs, self.runtimes, self.timeout, profiles)
        progress("verify", len(part), part.total)
        return Verdicts(found)


@dataclass(frozen=True, slots=True)
class VerifyQuestion:
    """Whether the simulator gives what runtimes give."""

    model: Path
    runtimes: tuple[str, ...]
    timeout: float
    drawn: bool

    @contextmanager
    def opened(self) -> Iterator[ReadyVerify]:
        """Read the model; every part starts runtimes of its own, as every sample of a device begins anew."""
        model = load_tflite(self.model)
        graph = model.main
        rows = max((graph.tensors[i].shape[0] for i in graph.inputs if graph.tensors[i].shape), default=1)
        grain = max(1, samples_for(graph, ANY) // max(1, rows)) * max(1, rows)
        yield ReadyVerify(model, self.runtimes, self.timeout, self.drawn, grain)


def _in_parts(path: Path, data: InParts, settings: Settings, drawn: Drawn, progress: Progress) -> Verification:
    model, names = load_tflite(path), tuple(names_of(settings.runtimes))
    sources, named = data.sources, data.named
    if not sources:
        arrays = random_inputs(model.main, drawn.samples or SAMPLES, drawn.seed)
        named = f"seeded random input (seed {drawn.seed})"
        sources = (Batch({str(i): array for i, array in enumerate(arrays)}, None, named),)
    question = VerifyQuestion(path.resolve() if data.on else path, names, settings.timeout, not data.data)
    whole = ask(question, sources, data.on, progress, at_most=drawn.samples)
    made_by = {
        "command": "verify",
        "model": str(path),
        "data": named,
        "samples": whole.samples,
        "versions": versions(),
    }
    return Verification(whole.answer.by_name, made_by)
