"""Parity as an assertion, for tests: ``assert_parity(reference, candidate, data, max_steps=1, runtime="tflm")``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantdiff.api.engines import Settings, Source
    from quantdiff.compare.conditions import Condition
    from quantdiff.compare.outcome import Outcome
    from quantdiff.ladder.explanation import Parity
    from quantdiff.load.data import Batch

REPORT = "QUANTDIFF_REPORT"
"""The environment variable that names a folder for reports; pytest's ``--quantdiff-report`` sets it."""
ASKED = Counter[str]()
"""How often each test has asserted so far: every assertion gets a report of its own."""


def assert_parity(  # noqa: PLR0913 (an assertion has as many sides)
    reference: Any,
    candidate: Any,
    data: Any,
    *,
    runtime: str | Sequence[str] = "xnnpack",
    tolerance: float | None = None,
    metric: Any = None,
    fail_on: str | Sequence[str] = (),
    or_skip: bool = False,
    **limits: float,
) -> Outcome:
    """Assert that ``candidate`` gives what ``reference`` gives, within limits.

    Args:
        reference: a path, a Keras model, a model that ``load_tflite`` read, or the bytes of a ``.tflite`` file.
        candidate: likewise.
        data: an ``.npz`` or ``.npy`` file, an array (samples along axis 0), ``(x, y)``, arrays by input name
            (labels in ``y``), or a ``Batch``, in the reference's float units.
        runtime: ``xnnpack``, ``builtin``, ``reference``, ``tflm``, ``all`` of these, or several of them.
        tolerance: every output must be this close, in real units (0.01 where nothing else is asked).
        or_skip: skip the test (``pytest.skip``) where a runtime is not installed or cannot run the file; without it
            that fails the test, because nothing was compared.
        metric: a number of your own: a function of outputs by name and labels, or ``FILE.py:function``.
        fail_on: what must not be, as for ``quantdiff diff``: ``"accuracy<0.97"``, for metrics of your own too.
        limits: metrics of ``diff`` by name: errors (``max_steps=1``, ``not_close=0.02``, ``differing``,
            ``max_abs_error``, ``mean_abs_error``, ``max_relative_error``) must not exceed their limit,
            ``sqnr_db``, ``cosine`` and ``top1_agreement`` not fall below it.

    Returns:
        What was found, also where all is well.

    Raises:
        AssertionError: a limit is broken; says which and by how much, the first layer that differs and the leading
            mechanism.
        TypeError: no such metric, or a model of an unknown kind.
        ValueError: no such runtime, or a limit that nothing can break.
        QuantdiffError: a model or the data cannot be used, or a runtime failed.
    """
    __tracebackhide__ = True
    from quantdiff.api.engines import Settings  # noqa: PLC0415 (pytest imports this in every run)
    from quantdiff.compare.comparison import TOLERANCE  # noqa: PLC0415
    from quantdiff.errors import QuantdiffError, RuntimeFailed  # noqa: PLC0415
    from quantdiff.report.text.parity import parity_text  # noqa: PLC0415
    from quantdiff.run.runtimes import chosen  # noqa: PLC0415

    conditions = (*_conditions(limits, tolerance), *_expressions(fail_on, own=metric is not None))
    settings = Settings(chosen(runtime), TOLERANCE if tolerance is None else tolerance, metric=metric)
    try:
        parity, more = _asked((reference, candidate), data, settings, conditions)
    except QuantdiffError as error:
        if or_skip and isinstance(error, RuntimeFailed):
            import pytest  # noqa: PLC0415

            pytest.skip(str(error))
        raise error.with_traceback(None) from None  # its line says all; where it came up in here helps nobody
    if parity.broken:
        raise AssertionError(parity_text(parity, more))
    return parity.outcome


def _asked(
    pair: tuple[Any, Any], data: Any, settings: Settings, conditions: tuple[Condition, ...]
) -> tuple[Parity, str]:
    """What is found, and the command that shows more."""
    from quantdiff import api  # noqa: PLC0415
    from quantdiff.files import scratch  # noqa: PLC0415
    from quantdiff.load.data import as_batch  # noqa: PLC0415

    with scratch() as folder:
        sources = (_source(pair[0], folder / "reference.tflite"), _source(pair[1], folder / "candidate.tflite"))
        batch = as_batch(data)
        parity = _named(api.check_parity(*sources, batch, settings, conditions), *pair)
        return parity, _report(parity, sources, batch, settings.runtimes)


def _named(parity: Parity, reference: Any, candidate: Any) -> Parity:
    """Bytes go by a name; the path of the file that held them for a while means nothing."""
    pair = {"reference": reference, "candidate": candidate}
    bare = {side: f"{side}.tflite" for side, model in pair.items() if isinstance(model, bytes | bytearray)}
    outcome = replace(parity.outcome, artifacts={**parity.outcome.artifacts, **bare})
    found = tuple(replace(each, artifacts={**each.artifacts, **bare}) for each in parity.explanations)
    return replace(parity, outcome=outcome, explanations=found)


def _report(parity: Parity, sources: tuple[Source, Source], batch: Batch, runtimes: tuple[str, ...]) -> str:
    """Write the report where one is wanted; how to see more, where a limit is broken."""
    from quantdiff.report.parity_folder import folder_name, write_parity  # noqa: PLC0415

    test = os.environ.get("PYTEST_CURRENT_TEST", "assert_parity").rpartition(" (")[0] or "assert_parity"
    ASKED[test] += 1
    title = test if ASKED[test] == 1 else f"{test} #{ASKED[test]}"
    folder = Path(os.environ[REPORT]) / folder_name(title) if os.environ.get(REPORT) else None
    more = _more(parity, sources, batch, folder, runtimes) if parity.broken else ""
    if folder is not None:
        write_parity(folder, parity, title, more)
    return more


def _more(
    parity: Parity, sources: tuple[Source, Source], batch: Batch, folder: Path | None, runtimes: tuple[str, ...]
) -> str:
    """The command that shows more, on files that are there, or how to get them."""
    from quantdiff.errors import reason_of  # noqa: PLC0415
    from quantdiff.load.data import MEMORY  # noqa: PLC0415
    from quantdiff.report.parity_folder import keep  # noqa: PLC0415
    from quantdiff.report.text.parity import more_text  # noqa: PLC0415

    in_files = batch.source != MEMORY and all(isinstance(source, str | Path) for source in sources)
    if in_files:
        files = str(sources[0]), str(sources[1]), batch.source
        return more_text(files, runtimes, explained=bool(parity.explanations))
    if folder is None:
        return f"more: these are in memory; pytest --quantdiff-report DIR, or {REPORT}=DIR, keeps them for quantdiff"
    try:
        files = keep(folder, sources, batch)
    except Exception as error:  # a model that cannot be saved; what the test says matters more
        return f"more: these are in memory and cannot be saved: {reason_of(error)}"
    return more_text(files, runtimes, explained=bool(parity.explanations))


def _conditions(limits: Mapping[str, float], tolerance: float | None) -> tuple[Condition, ...]:
    """The limits as conditions; a tolerance is one of them unless ``not_close`` says how much of it may be broken."""
    from quantdiff.compare.conditions import CLOSE, limit  # noqa: PLC0415

    close = (CLOSE,) if tolerance is not None and "not_close" not in limits else ()
    return (*(limit(metric, value) for metric, value in limits.items()), *close)


def _expressions(texts: str | Sequence[str], *, own: bool) -> tuple[Condition, ...]:
    from quantdiff.compare.conditions import parse  # noqa: PLC0415

    return tuple(parse(text, "fail_on", own=own) for text in ((texts,) if isinstance(texts, str) else texts))


def _source(model: Any, file: Path) -> Source:
    """A model as ``api`` takes it: bytes go to ``file``, where runtimes find them."""
    from quantdiff.load.tflite import load_tflite  # noqa: PLC0415
    from quantdiff.references.formats import format_of  # noqa: PLC0415

    if isinstance(model, bytes | bytearray):
        file.write_bytes(model)
        return load_tflite(file)
    if not isinstance(model, str | Path):
        format_of(model)  # refuses what is no model
    return model
