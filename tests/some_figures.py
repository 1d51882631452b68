"""One comparison's figures, for tests that need some: a new figure gets its value here."""

from quantdiff.compare.comparison import Figures

FIGURES = Figures(
    count=1000,
    passed=False,
    max_abs_error=0.25,
    mean_abs_error=0.01,
    max_relative_error=3.5,
    not_close=0.0123,
    step=0.5,
    differing=7,
    max_steps=2,
    sqnr_db=41.5,
    cosine=0.999,
    top1_agreement=0.98,
)
