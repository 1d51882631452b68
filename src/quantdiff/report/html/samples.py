"""The samples with the largest errors, as pictures where the data are images."""

from __future__ import annotations

from collections.abc import Sequence

from quantdiff.compare.evidence import Evidence, Sample
from quantdiff.report.html.png import data_uri
from quantdiff.report.html.rendering import render
from quantdiff.report.html.section import Section


def samples_section(evidence: Sequence[Evidence]) -> Section | None:
    """The worst samples of each output; None where nothing differs."""
    entries = [{"evidence": each, "samples": list(map(_shown, each.worst))} for each in evidence if each.worst]
    return Section("samples", "The worst samples", render("samples.html", entries=entries)) if entries else None


def _shown(sample: Sample) -> dict[str, object]:
    return shown(sample, f"sample {sample.number}")


def shown(sample: Sample, title: str, lines: Sequence[str] = ()) -> dict[str, object]:
    """A picture, if there is one, and what stands below it."""
    uri = None if sample.picture is None else data_uri(sample.picture)
    return {"sample": sample, "uri": uri, "title": title, "lines": lines}
