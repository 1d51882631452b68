"""A ``Working`` as lines for a person, and as the document that ``work --json`` prints; every number is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from quantdiff.paper.working import Given, Number, Operand, Products, Sheet, Step, Term, Working
from quantdiff.report.text.terminal import WIDTH_IN_A_FILE, prepared_data, printable

FIRST, LAST = 5, 2
"""Of a long sum the terminal shows this many terms at each end; JSON has them all."""
FIRST_STEPS, LAST_STEPS = 24, 8
"""Of the steps of a long loop likewise."""


def working_document(working: Working) -> dict[str, Any]:
    """Everything, no term left out, no number rounded."""
    sheet = working.sheet
    bounds = None if sheet.bounds is None else list(sheet.bounds)
    document: dict[str, Any] = _parts_of_complex(
        {
            "schema": "quantdiff/1",
            **working.made_by,
            "operator": {"index": working.index, "op": working.op},
            "element": list(working.element),
            "at": list(working.at),
            "runtime": working.runtime,
            "kernel": working.kernel,
            "operands": [asdict(operand) for operand in sheet.operands],
            "products": None if sheet.products is None else asdict(sheet.products),
            "rule": sheet.rule,
            "steps": [asdict(step) for step in sheet.steps],
            "bounds": bounds,
            "result": sheet.result,
            "real": working.real,
            "runtime_gave": working.runtime_gave,
            "others": [asdict(given) for given in working.others],
        }
    )
    return document


def _parts_of_complex(value: Any) -> Any:
    """The same with each complex number as its two parts."""
    if isinstance(value, dict):
        return {key: _parts_of_complex(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_parts_of_complex(each) for each in value]
    return [value.real, value.imag] if isinstance(value, complex) else value


def working_text(working: Working, width: int = WIDTH_IN_A_FILE) -> str:
    """Operands, products, sum, rounding, result, and what each runtime gives; ``width``: characters of a line."""
    sheet = working.sheet
    lines = [*_heading(working), "", *_operands(sheet.operands)]
    if sheet.products is not None:
        lines += ["", "products of stored integers", *_terms(sheet.products), "", "sum", *_sum(sheet.products)]
    lines += ["", f"steps ({sheet.rule})", *_steps(sheet, width), "", *_verdict(working)]
    return "\n".join(line.rstrip() for line in lines)


def _heading(working: Working) -> Iterator[str]:
    data = printable(prepared_data(str(working.made_by.get("data", ""))))
    where = f"{working.op} #{working.index}, sample {working.element[0]}{data}, element {list(working.at)}"
    kernel = "" if working.kernel == working.runtime else f" (which leaves it to the {working.kernel} kernel)"
    if is_predicted(working):
        kernel = f" (whose rule there is {working.kernel})"
    yield f"{where}, on {working.runtime}{kernel}"


def is_predicted(working: Working) -> bool:
    """Whether no runtime gave it, but the profile of a device."""
    return working.runtime.startswith("profile:")


def _operands(operands: Sequence[Operand]) -> Iterator[str]:
    for operand in operands:
        value = "" if operand.value is None else f" = {operand.value!r}"
        place = "" if operand.at is None or operand.role == "y" else list(operand.at)
        scale = "" if operand.scale is None else f", scale {operand.scale!r}, zero point {operand.zero_point}"
        yield f"  {operand.role}{place}{value}: {operand.dtype}{scale}   {printable(operand.name)}"


def _terms(products: Products) -> Iterator[str]:
    terms = products.terms
    if len(terms) <= FIRST + LAST + 1:
        yield from _aligned(terms)
    else:
        both = [*_aligned([*terms[:FIRST], *terms[-LAST:]])]
        yield from both[:FIRST]
        yield f"  … {len(terms) - FIRST - LAST} more (--json has them all) …"
        yield from both[FIRST:]
    if products.padded:
        yield f"  {products.padded} more lie in the padding, which stands for 0 and adds nothing"


def _aligned(terms: Sequence[Term]) -> Iterator[str]:
    rows = [(f"x{list(t.x_at)} · w{list(t.w_at)}", f"{t.x} · {t.w}", str(t.product)) for t in terms]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for places, factors, product in rows:
        yield f"  {places:{widths[0]}}   {factors:>{widths[1]}} = {product:>{widths[2]}}"


def _sum(p: Products) -> Iterator[str]:
    rows = [
        ("Σ q_x·q_w", f"{p.count} products", p.sum_xw),
        ("− z_w·Σ q_x", f"−{_factor(p.z_w)} · {_factor(p.sum_x)}", p.for_z_w),
        ("− z_x·Σ q_w", f"−{_factor(p.z_x)} · {_factor(p.sum_w)}", p.for_z_x),
        ("+ K·z_x·z_w", f"{p.count} · {_factor(p.z_x)} · {_factor(p.z_w)}", p.for_both),
        ("= accumulator", "", p.accumulator),
    ]
    if p.bias is not None:
        rows += [("+ bias", "", p.bias), ("= accumulator with bias", "in 32 bits", p.total)]
    return _columns(rows, ">")


def _factor(value: int) -> str:
    return f"({value})" if value < 0 else str(value)


def _steps(sheet: Sheet, width: int) -> Iterator[str]:
    rows: list[tuple[str, str, Number]] = []
    for step in sheet.steps:
        rows.append((step.name, printable(step.formula) + _values(step), step.value))
        if step.exact is not None and step.exact != step.value:
            rows[-1] = (step.name, f"{rows[-1][1]}: {step.exact!r}", step.value)
    if len(rows) <= FIRST_STEPS + LAST_STEPS + 1:
        yield from _stepwise(rows, width)
        return
    both = [*_stepwise([*rows[:FIRST_STEPS], *rows[-LAST_STEPS:]], width)]
    yield from both[:FIRST_STEPS]
    yield f"  … {len(rows) - FIRST_STEPS - LAST_STEPS} more (--json has them all) …"
    yield from both[FIRST_STEPS:]


def _stepwise(rows: Sequence[tuple[str, str, Number]], width: int) -> Iterator[str]:
    """A line for each step; where one is too wide, name and value, and the formula on a line of its own."""
    lines = [*_columns(rows)]
    if max(map(len, lines), default=0) <= width:
        yield from lines
        return
    room = max(len(name) for name, _, _ in rows)
    for name, formula, value in rows:
        yield f"  {name:{room}}   {value!r}" + (f"\n      {formula}" if formula else "")


def _values(step: Step) -> str:
    if not step.terms:
        return ""
    shown = [str(term) for term in step.terms]
    if len(shown) > FIRST + LAST + 1:
        shown = [*shown[:FIRST], "…", *shown[-LAST:]]
    return ": " + ", ".join(shown)


def _columns(rows: Sequence[tuple[str, str, Number]], align: str = "<") -> Iterator[str]:
    texts = [(name, formula, repr(value)) for name, formula, value in rows]
    first, second, third = (max(map(len, column)) for column in zip(*texts, strict=True))
    for name, formula, value in texts:
        yield f"  {name:{first}}   {formula:{second}}   {value:{align}{third}}"


def _verdict(working: Working) -> Iterator[str]:
    real = "" if working.sheet.operands[-1].scale is None else f" (in real units {working.real!r})"
    bounds = working.sheet.bounds
    yield f"result {working.sheet.result!r}{real}" if bounds is None else f"result {_between(bounds)}"
    gave = f"{working.runtime} predicts" if is_predicted(working) else f"the {working.runtime} runtime gave"
    yield f"{gave} {working.runtime_gave!r}: {'equal' if bounds is None else 'between them'}"
    yield f"by each runtime's rule on the same inputs: {', '.join(_given(each) for each in working.others)}"


def _between(bounds: tuple[Number, Number]) -> str:
    return f"between {bounds[0]!r} and {bounds[1]!r}"


def _given(each: Given) -> str:
    if each.bounds is not None:
        return f"{each.runtime} {_between(each.bounds)}"
    if each.value is None:
        return f"{each.runtime} unknown ({printable(each.why)})"
    return f"{each.runtime} {each.value!r}"
