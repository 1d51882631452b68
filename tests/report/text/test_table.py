"""The tables of all commands at many widths: figures and words whole, names shortened from their beginning."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import small_models
from some_figures import FIGURES

from quantdiff.cli import main
from quantdiff.compare.comparison import Comparison, Output
from quantdiff.compare.layers.figures import LayerFigures
from quantdiff.compare.layers.report import LayerReport, LayerResult
from quantdiff.compare.outcome import Outcome
from quantdiff.compare.verdict import OperatorResult, Verdict, Verification
from quantdiff.experiment.summary import Box, Difference, Engine, Gap, Interval, OwnMeans, RangePair, Rates, Summary
from quantdiff.ladder.explanation import Explanation, Frontier, Item, LayerLadder, Rung, Signed
from quantdiff.linting.lint import Finding, LintReport, Severity
from quantdiff.linting.wiring import Location
from quantdiff.load.tflite import read_model
from quantdiff.parameters.inspection import inspect_model
from quantdiff.parameters.quantizers import Parameters, Range, Reason, Row
from quantdiff.references import survey
from quantdiff.report.text import terminal
from quantdiff.report.text.explanation import print_explanation
from quantdiff.report.text.files import inspection_text, print_lint
from quantdiff.report.text.outcome import print_outcome
from quantdiff.report.text.params import print_parameters
from quantdiff.report.text.runtimes import print_engines
from quantdiff.report.text.study import print_summary
from quantdiff.report.text.terminal import Column, Table, Terminal, fitted
from quantdiff.report.text.verification import print_verification

WIDTHS = (80, 100, 120, 160)
ENDLESS = 10_000
TOKEN = re.compile(r"[^\s()]+")
NAME = "model/block_{}/expand_depthwise/re_lu/Relu6;model/block_{}/batch_norm/FusedBatchNormV3;model/conv2d_{}/Conv2D"
LONG = [NAME.format(i, i, i) for i in range(4)]
LAYER = LayerFigures(
    12_345_678, 2_345_678, 255, -0.0123, 0.006, 3.1875, 41.52, 0.999912, 0.7, 0.1, 0.0321, 0.0587, 0.5, 0.2, -1.25e-5,
    3.25, -1.375e-5, 3.5, 4,
)  # fmt: skip
LAYERS = LayerReport(
    "qat", "tflite:xnnpack",
    tuple(LayerResult(n, n, "Conv2D", "DEPTHWISE_CONV_2D", "name", "values", 0.01, True, (), LAYER, LAYER)
          for n in LONG), (), (),
)  # fmt: skip
COMPARISON = Comparison("qat", "tflite:reference", 0.01, FIGURES, (Output("a", "a", FIGURES),))
ITEM = Item(17, "DEPTHWISE_CONV_2D", "", "t", "activation_clipping", 0.8125, 0.9375, 0.01, 1234.5, 99.0)
EXPLANATION = Explanation(
    "qat", "tflite:xnnpack", "xnnpack", 1000, 123_456, 78_901, True, True,
    (Rung("reference", 78_901, 0, 1), Rung("bias_to_int32", 2, 67_890, 1), Rung("runtime", 0, 2, 0)), 0,
    layers=tuple(LayerLadder(n, n, "CONV_2D", 500_000, (98_765, 1, 0), (87_654, 0, 0), 1, expected=0.12345)
                 for n in LONG),
    frontier=Frontier(60, 1.5, {"activation_clipping": 3.25}, {}, tuple(replace(ITEM, layer=n) for n in LONG), 0.5, 0),
    signed=tuple(Signed(i, "DEPTHWISE_CONV_2D", n, "activation_rounding", 1.0625 + i) for i, n in enumerate(LONG)),
)  # fmt: skip
OPERATORS = tuple(OperatorResult(i, "DEPTHWISE_CONV_2D", "reference", 123_456_789, 12_345) for i in range(4))
ENDS = Range((-123.456789,), (234.567891,), (0.00392157,), (-128,))
REASONS = (
    Reason("nudge", "nudge only, by 0.48 steps"),
    Reason("unsettled", "moving average not settled: 50% of the codes lie below the ReLU"),
)
ROLES: Any = ("direct", "folded", "nudged", "file", "stored", "keras", "tflite", "by_hand")
PARAMETERS = Parameters(
    tuple(Row(n, "post_activation", "output", n, **dict.fromkeys(ROLES, ENDS), reasons=REASONS) for n in LONG),
    made_by={"samples": 60},
)
ENGINES = [Engine(n, "copied-ptq", "reference") for n in LONG]
SPAN = Interval(0.151515, 0.141414, 0.161616)
SUMMARY = Summary(
    2, ("digits",), (),
    tuple(Rates(e, 3, (0, 1), (0.1, 0.2), SPAN, Box(0.1111, 0.1212, 0.1313, 0.1414, 0.1555)) for e in ENGINES),
    tuple(Difference(e, replace(e, condition="qat-tflite"), 12, SPAN, 7, 5, 0.774) for e in ENGINES),
    tuple(Gap(e.model, e.condition, "reference", "xnnpack", 12, 0.1234, 3, 0.05, 0.654321)
          for e in ENGINES),
    tuple(RangePair(e.model, "train", LONG[1], "kernel", (-12.3456, 23.4567), (-12.25, 23.5), 12, 7)
          for e in ENGINES), (),
    tuple(OwnMeans(e.model, e.condition, "reference", "xnnpack", "recall", 12, (0.987654, 0.976543), SPAN)
          for e in ENGINES),
)  # fmt: skip
FOUND = Finding(
    "RANGE01", Severity.WARNING, Location(f"operator 7 DEPTHWISE_CONV_2D {LONG[0]}"),
    f"4 of 24 channels (1, 6, 15, 16) of {LONG[1]}: 43.3% of the codes", "Weights use few codes.", "Quantize again.",
)  # fmt: skip
VERIFIED = Verification(
    {n: Verdict("differs", OPERATORS) for n in ("xnnpack", "tflm")}, {"samples": 64, "data": "few.npz"}
)
OUTCOME = Outcome({f"tflite:{n}": 0.9876 for n in "abcdefgh"}, (COMPARISON,), layers=(LAYERS,))
PRINTED: Mapping[str, Callable[[Terminal], None]] = {
    "run": lambda console: print_outcome(replace(OUTCOME, layers=()), console),
    "diff": lambda console: print_outcome(OUTCOME, console),
    "explain": lambda console: print_explanation(EXPLANATION, console),
    "params": lambda console: print_parameters(PARAMETERS, console),
    "report": lambda console: print_summary(SUMMARY, console),
    "verify": lambda console: print_verification(VERIFIED, console),
    "lint": lambda console: print_lint(LintReport(read_model(memoryview(small_models.dense())), (FOUND,)), console),
    "runtimes": lambda console: print_engines(
        [survey.Engine("xnnpack", "runtime", "ai-edge-litert", "2.3.0", "x86_64", "child process")], console
    ),
}
"""The commands that print tables, each with names as the converter makes them."""
LINES = {"inspect", "work", "vectors", "overlay", "sweep", "extract", "record", "reduce", "worst"}
"""Those that print lines, files or CSV, in which names stand whole; test_widths.py runs them."""
ELSEWHERE = {"advise", "identify"}
"""Those whose tables are printed by tests of their own, and by test_widths.py."""


def printed(command: str, width: int) -> str:
    written = io.StringIO()
    PRINTED[command](Terminal(file=written, width=width))
    return written.getvalue()


def words(text: str) -> Counter[str]:
    """What is neither a name nor an empty line; what names the columns may stand there more than once."""
    found = TOKEN.findall(text)
    return Counter(each.rstrip(",:;") for each in found if "/" not in each and "…" not in each and not each.isupper())


def test_every_command_is_here() -> None:
    assert {*PRINTED, *LINES, *ELSEWHERE} == {*main.commands}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", PRINTED)
def test_figures_and_words_are_whole(command: str, width: int) -> None:
    narrow, wide = words(printed(command, width)), words(printed(command, ENDLESS))
    missing = {each: count for each, count in wide.items() if narrow[each] < count}
    assert {each: count for each, count in missing.items() if each not in ("what", "explains", "it")} == {}
    assert {each for each in narrow if each not in wide} == set()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", PRINTED)
def test_lines_fit(command: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of tables; a sentence wraps where the terminal ends."""
    laid_out, widest = Table.__rich_console__, []

    def lines(each: Table, *how: Any) -> Iterator[Any]:
        for line in laid_out(each, *how):
            widest.append(len(line.plain))
            yield line

    monkeypatch.setattr(Table, "__rich_console__", lines)
    printed(command, width)
    assert 0 < max(widest) <= width
    if LONG[0][:20] not in printed(command, width):
        assert "…" in printed(command, width) or command in ("run", "verify", "runtimes")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_line_of_inspect_goes_on_below_and_loses_nothing(width: int) -> None:
    """A name stands whole: it is what people search for."""
    text = inspection_text(inspect_model(read_model(memoryview(small_models.dense()))))
    lines = [
        *text.split("\n"),
        f"12  {LONG[0]}  int8[1, 28, 28, 1]  signature [-1, 28, 28, 1]  72 bytes  input",
    ]
    for line in lines:
        found = [*fitted(line, width)]
        assert " ".join(found).split() == line.split()
        assert all(len(each) <= width or LONG[0] in each for each in found)
        assert all(each.startswith(" " * 8) for each in found[1:])


def test_in_a_pipe_a_line_has_160_columns_or_as_many_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert Terminal(file=io.StringIO()).width == 160
    monkeypatch.setenv("COLUMNS", "100")
    assert Terminal(file=io.StringIO()).width == 100


def test_a_name_gives_way_from_its_beginning_and_only_as_far_as_it_must() -> None:
    rows = terminal.Row(("model/block_1/conv2d", "123,456"), "because"), terminal.Row(("model/b", "7"))
    written = io.StringIO()
    for width in (40, 29, 22):
        Terminal(file=written, width=width).print(Table((Column("layer", "name"), Column("differ")), rows, "why"))
    assert written.getvalue() == (
        "layer                  differ  why\n"
        "model/block_1/conv2d  123,456  because\n"
        "model/b                     7\n"
        "layer                  differ\n"
        "model/block_1/conv2d  123,456\n"
        "    because\n"
        "model/b                     7\n"
        "layer           differ\n"
        "…ock_1/conv2d  123,456\n"
        "    because\n"
        "model/b              7\n"
    )


def test_names_that_end_alike_lose_what_they_share() -> None:
    names = "net/block_1/expand/norm/kernel", "net/block_2/expand/norm/kernel", "net/block_2/expand/norm/bias", "y"
    written = io.StringIO()
    rows = Table((Column("layer", "name"), Column("differ")), tuple(terminal.Row((name, "1")) for name in names))
    for width in (27, 26):
        Terminal(file=written, width=width).print(rows)
    assert (
        written.getvalue().split()
        == [
            *(
                "layer",
                "differ",
                "…/block_1/…/kernel",
                "1",
                "…/block_2/…/kernel",
                "1",
                "…/block_2/…/bias",
                "1",
                "y",
                "1",
            ),
        ]
        * 2
    )


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("qat.h5", "in Keras"),
        ("saved_model", "in Keras"),
        ("net.onnx", "in ONNX"),
        ("net.pt2", "in PyTorch"),
        ("net.py:make", "in PyTorch"),
        ("float.tflite#add", "in the reference"),
    ],
)
def test_what_the_reference_showed_is_named_by_its_framework(file: str, said: str) -> None:
    written = io.StringIO()
    print_parameters(replace(PARAMETERS, artifacts={"reference": file}), Terminal(file=written, width=400))
    assert f"  {said}  " in written.getvalue().splitlines()[0]
