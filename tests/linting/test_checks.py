"""Each check of a file fires where it should, and nowhere near."""

from __future__ import annotations

import pytest
from linting.models_with_findings import EACH, FIRES, SILENT, dense, moved, q, requantized_concat
from written_models import Op, Sub, write_model

from quantdiff.linting.lint import Check, Finding, Severity, check, checks, lint_model
from quantdiff.linting.wiring import Wiring
from quantdiff.load.tflite import read_model
from quantdiff.ops import TRAITS


def cases(models: dict[str, dict[str, bytes]]) -> list[object]:
    return [
        pytest.param(code, data, id=f"{code} {name}") for code, group in models.items() for name, data in group.items()
    ]


def codes(data: bytes) -> set[str]:
    return {finding.code for finding in lint_model(read_model(memoryview(data))).findings}


@pytest.mark.parametrize(("code", "data"), cases(FIRES))
def test_fires(code: str, data: bytes) -> None:
    assert code in codes(data)


@pytest.mark.parametrize(("code", "data"), cases(SILENT))
def test_is_silent(code: str, data: bytes) -> None:
    assert code not in codes(data)


def test_every_check_of_a_file_has_both() -> None:
    wanted = {check.code for check in checks() if check.subject is Wiring}
    assert set(FIRES) == wanted, "tests/linting/models_with_findings.py: FIRES needs a model for each"
    assert set(SILENT) == wanted, "tests/linting/models_with_findings.py: SILENT needs a model for each"


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.code)
def test_every_check_says_what_it_means_and_what_to_do(check: Check) -> None:
    assert check.message.endswith(".")
    assert len(check.advice) > 40


@pytest.mark.parametrize("model", [dense(), dense(s_w=EACH), dense(bias=77, s_w=EACH)])
def test_a_sane_model_has_no_finding(model: bytes) -> None:
    assert codes(model) == set()


COPIES = [op for op, known in TRAITS.items() if known.one_grid and not known.joins]
JOINTS = [op for op, known in TRAITS.items() if known.joins]
RELU_TO_A = [Op("RELU", ["x"], ["a"])]


@pytest.mark.parametrize("op", COPIES)
def test_an_activation_whose_range_others_share_is_left_alone(op: str) -> None:
    assert "RANGE02" in codes(moved(op, RELU_TO_A, q("a")))
    assert [joint for joint in JOINTS if "RANGE02" in codes(moved(op, RELU_TO_A, q("a"), joint=joint))] == []


@pytest.mark.parametrize("op", [*COPIES, None])
def test_a_concatenation_sees_a_quantize_behind_what_keeps_the_grid(op: str | None) -> None:
    rescaled = op and moved(op, [Op("QUANTIZE", ["x"], ["a"])], q("x", 0.125), q("a"), joint="CONCATENATION")
    finding = only("SCALE03", rescaled or requantized_concat(0.125))
    assert (finding.severity, finding.evidence) == (
        Severity.WARNING,
        "output 0.5, zero point 0; 1 of 2 inputs 0.125, zero point 0",
    )


def only(code: str, data: bytes) -> Finding:
    (finding,) = [f for f in lint_model(read_model(memoryview(data))).findings if f.code == code]
    return finding


@pytest.mark.parametrize(
    ("code", "case", "where", "evidence"),
    [
        ("BIAS01", "upper end", "operator 0 FULLY_CONNECTED y", "1 of 4 channels (1) at 2147483647"),
        ("BIAS02", "one channel", "operator 0 FULLY_CONNECTED y",
         "stored 0.126, product 0.125; moves the output by up to 0.0035 steps"),
        ("CHAN04", "dense", "operator 0 FULLY_CONNECTED y", "channel 0 reaches 127 steps, the median of 4 channels 9"),
        ("FLOAT01", "two ops", "operator 1 ELU g",
         "2 float operators: DEQUANTIZE #0 → ELU #1 → ELU #2 → QUANTIZE #3"),
        ("QUANT01", "twice", "operator 1 QUANTIZE y", "QUANTIZE #0 → QUANTIZE #1"),
        ("RANGE01", "channel", "operator 0 FULLY_CONNECTED y", "1 of 4 channels (1): 3.9% of the codes"),
        ("RANGE02", "relu", "operator 0 FULLY_CONNECTED y", "11.0% of the codes: range -56 to 454"),
        ("SCALE03", "QUANTIZE", "operator 1 CONCATENATION y",
         "output 0.5, zero point 0; 1 of 2 inputs 0.125, zero point 0"),
        ("SCALE04", "add", "operator 0 ADD y", "scales 0.5 and 0.02, a factor of 25"),
        ("AXIS02", "depthwise", "operator 0 DEPTHWISE_CONV_2D y", "scales along axis 1, channels along axis 3"),
        ("FLOAT03", "pool", "operator 0 MAX_POOL_2D y", "the first of 1 such operator"),
        ("SCALE05", "boxes and scores", "operator 1 CONCATENATION y",
         "input 0 moves it by 0.9961 at most, its step is 1.25"),
        ("SCALE05", "scores in float", "operator 2 CONCATENATION y",
         "input 0 moves it by 1 at most, its step is 0.586"),
        ("SCALE05", "score times a constant", "operator 0 MUL y",
         "input 1 moves it by 2.57 at most, its step is 3.92e+06"),
        ("SCALE07", "zero point", "operator 0 RESHAPE y",
         "input scale 0.5, zero point 0; output scale 0.5, zero point 3"),
        ("SCALE07", "the second of two", "operator 0 MAXIMUM y",
         "input scale 0.25, zero point 0; output scale 0.5, zero point 0"),
        ("STATE01", "int8", "operator 0 UNIDIRECTIONAL_SEQUENCE_LSTM y", 
         "tensor 14 s (int8) is input 18 of #0 and input 19 of #0"),
        ("MULT01", "channel", "operator 0 FULLY_CONNECTED y", "1 of 4 channels (1), multiplier 2.5e-13"),
    ],
)  # fmt: skip
def test_says_where_and_with_which_number(code: str, case: str, where: str, evidence: str) -> None:
    finding = only(code, FIRES[code][case])
    assert (finding.place.text, finding.evidence) == (where, evidence)


def test_a_concatenation_that_loses_less_than_a_bit_is_for_information() -> None:
    assert only("SCALE03", requantized_concat(0.3)).severity is Severity.INFO
    assert only("SCALE03", requantized_concat(0.25)).severity is Severity.WARNING
    assert only("SCALE03", requantized_concat(0.25, "int16")).severity is Severity.INFO


def test_subgraphs_are_told_apart() -> None:
    ends = [q("x"), q("y")]
    subgraphs = [
        Sub(ends, [Op("TANH", ["x"], ["y"])], ["x"], ["y"]),
        Sub(ends, [Op("QUANTIZE", ["x"], ["y"])], ["x"], ["y"]),
    ]
    finding = only("QUANT01", write_model(subgraphs))
    assert (finding.place.text, finding.place.subgraph) == ("subgraph 1: operator 0 QUANTIZE y", 1)


def test_the_worst_comes_first() -> None:
    found = lint_model(read_model(memoryview(dense(bias=2**31 - 1, b_scale=0.25, w_zero=3)))).findings
    assert [finding.severity for finding in found] == sorted((f.severity for f in found), key=list(Severity).index)
    assert {finding.code for finding in found} >= {"BIAS01", "BIAS02", "ZERO02", "XNN01"}


def test_a_code_names_one_check() -> None:
    with pytest.raises(ValueError, match=r"two entries of quantdiff.linting.checks are called BIAS01"):
        check("BIAS01", Severity.INFO, Wiring)(lambda wiring: ())
