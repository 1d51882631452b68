"""How the numbers came about: command, files, data, seed, versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantdiff.compare.outcome import Failure
from quantdiff.report.html.rendering import render
from quantdiff.report.html.section import Section


@dataclass(frozen=True, slots=True)
class Provenance:
    """How it was made; ``command`` is what was typed, empty where it was not a command."""

    made_by: Mapping[str, object] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    command: str = ""


def about(provenance: Provenance) -> tuple[str, ...]:
    """The experiment in a few words: model, seed, samples."""
    made_by = provenance.made_by
    samples = made_by.get("samples")
    return (
        *([str(made_by["model"])] if "model" in made_by else []),
        *([f"seed {made_by['seed']}"] if "seed" in made_by else []),
        *([f"{samples:,} samples"] if isinstance(samples, int) else []),
    )


def provenance_section(provenance: Provenance) -> Section:
    """Everything that another person needs to get the same numbers."""
    versions = provenance.made_by.get("versions")
    facts = {name: value for name, value in provenance.made_by.items() if name not in ("versions", "command")}
    html = render(
        "provenance.html",
        provenance=provenance,
        facts=facts,
        versions=dict(versions) if isinstance(versions, Mapping) else {},
    )
    return Section("made", "How this was made", html)
