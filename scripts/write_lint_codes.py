"""Write ``docs/reference/lint-codes.md``: every check of ``quantdiff lint``, from its own docstring.

uv run python scripts/write_lint_codes.py
"""

from __future__ import annotations

from pathlib import Path

from quantdiff.linting.lint import Check, Trained, checks

TARGET = Path(__file__).parents[1] / "docs/reference/lint-codes.md"
HEAD = """\
# Codes of `quantdiff lint`

Written by `uv run python scripts/write_lint_codes.py` from the checks' own docstrings; a test holds the two together.
Codes are stable: a check that is dropped leaves its code unused. *error*: the numbers are wrong, or a runtime refuses
the file. *warning*: it costs accuracy or speed, and can be mended. *info*: worth knowing; usual in sane models. The
checks marked *reference* need the trained Keras model too.

| code | severity | what it means | why it matters, what to do |
|---|---|---|---|
"""


def text() -> str:
    """The whole page."""
    return HEAD + "".join(map(row, checks()))


def row(check: Check) -> str:
    """One line of the table."""
    needs = " *(reference)*" if check.subject is Trained else ""
    cells = (f"`{check.code}`", check.severity.value, check.message + needs, check.advice)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(text(), encoding="utf-8")
    print(f"{TARGET.name}: {len(checks())} codes")
