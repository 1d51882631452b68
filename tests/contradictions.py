"""What cannot be true of two arrays at the same time: the figures of one row held against each other."""

from __future__ import annotations

import math
from collections.abc import Iterator

from quantdiff.compare.layers.figures import LayerFigures
from quantdiff.compare.layers.report import LayerReport

FLOAT = 1e-6  # of a figure: errors and extremes are float32
STEP = 0.01  # steps: a float32 real value divided by a float32 scale, 2**15 steps from zero
Claims = Iterator[tuple[str, bool]]


def contradictions(figures: LayerFigures) -> tuple[str, ...]:
    """The claims that do not hold, in words; none for the figures of any two arrays."""
    claims = [*_in_real_units(figures), *(_in_steps(figures) if figures.differing is not None else ())]
    return tuple(words for words, holds in claims if not holds)


def contradicting_rows(report: LayerReport) -> dict[str, tuple[str, ...]]:
    """Of every row of a report, as it happens and alone, what contradicts itself."""
    rows = [(layer.reference, each) for layer in report.layers for each in (layer.figures, layer.local) if each]
    found = ((name, contradictions(figures)) for name, figures in rows)
    return {name: claims for name, claims in found if claims}


def _at_most(a: float, b: float, slack: float = 0.0) -> bool:
    return a <= b + FLOAT * max(abs(a), abs(b)) + slack


def _in_real_units(f: LayerFigures) -> Claims:
    error, ours, theirs = f.max_abs_error, (f.reference_min, f.reference_max), (f.candidate_min, f.candidate_max)
    signal, power = (max(-low, high) for low, high in (ours, theirs))
    nearest = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    farthest, reach = max(ours[1] - theirs[0], theirs[1] - ours[0]), max(signal, power) * FLOAT
    yield "a smallest value is larger than the largest", ours[0] <= ours[1] and theirs[0] <= theirs[1]
    yield "the largest error is smaller than the distance of the ends", _at_most(nearest, error, reach)
    yield "the largest error is larger than the ranges allow", _at_most(error, farthest, reach)
    yield "SQNR is infinite without equality, or the reverse", (f.sqnr_db == math.inf) == (error == 0)
    yield "SQNR is -inf beside a signal, or the reverse", (f.sqnr_db == -math.inf) == (signal == 0 < error)
    yield "a cosine beside zeros, or none without", (f.cosine is None) == (signal == 0 or power == 0)
    if math.isfinite(f.sqnr_db) and error and signal:
        spread = 10 * math.log10(f.count) + FLOAT
        yield "SQNR does not fit the largest error", abs(f.sqnr_db - 20 * math.log10(signal / error)) <= spread
    if f.cosine is not None:
        least = math.sqrt(1 - 10 ** (-f.sqnr_db / 10)) if f.sqnr_db > 0 else -1  # noise ≥ signal · sin²
        yield "the cosine is beyond 1", abs(f.cosine) <= 1
        yield "the cosine does not fit the SQNR", _at_most(least, f.cosine)


def _in_steps(f: LayerFigures) -> Claims:
    differing, largest, mean_abs = (f.differing or 0) / f.count, f.max_steps or 0, f.mean_abs_steps or 0.0
    shares = [share or 0.0 for share in (f.clipped_low, f.clipped_high, f.at_low, f.at_high)]
    yield "no largest step beside differing integers, or the reverse", (differing > 0) == (largest > 0)
    yield "a share is beyond 0 to 1", min(shares) >= 0 and max(differing, sum(shares[:2]), sum(shares[2:])) <= 1 + FLOAT
    yield "fewer steps than differing integers", _at_most(differing, mean_abs)
    yield "more steps than differing integers times the largest", _at_most(mean_abs, differing * largest)
    if f.step is None or f.mean_steps is None or f.rmse_steps is None:
        return
    error, cut = f.max_abs_error / f.step, min(1.0, sum(shares))  # what is cut off has an error that no integer shows
    yield "the mean is beyond the RMSE", _at_most(abs(f.mean_steps), f.rmse_steps)
    yield "the RMSE is beyond the largest error", _at_most(f.rmse_steps, error)
    yield "the integers differ by more than the values", _at_most(largest, error + 1, STEP)
    yield "the integers differ by more than the RMSE allows", _at_most(mean_abs, f.rmse_steps + 1, STEP)
    yield "the values differ by more than the integers", cut > 0 or _at_most(error, largest + 1, STEP)
    square = (1 - cut) * (largest + 1) ** 2 + cut * error**2
    yield "the RMSE is beyond what the integers allow", _at_most(f.rmse_steps, math.sqrt(square), STEP)
    yield "the mean is beyond what the integers allow", _at_most(abs(f.mean_steps), mean_abs + 1 + cut * error, STEP)
    root = f.rmse_steps * f.step * 10 ** (f.sqnr_db / 20) if math.isfinite(f.sqnr_db) else 0.0  # RMS of the reference
    yield "SQNR and RMSE make a signal beyond the range", _at_most(root, max(-f.reference_min, f.reference_max))
