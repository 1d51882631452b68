"""The names of what is exchanged, and of what an error is made of."""

from __future__ import annotations

REFERENCE, REAL, REWRITTEN, INPUT, RANGES, WEIGHTS, BIAS, CLIPPING, STEPS, CURVES, ROUNDING, RUNTIME = (
    "reference",
    "real",
    "rewritten",
    "input_quantized",
    "activation_ranges",
    "weights",
    "bias_to_int32",
    "activation_clipping",
    "activation_rounding",
    "op_approximation",
    "rounding",
    "runtime",
)
MECHANISMS = (
    REFERENCE, REAL, REWRITTEN, INPUT, RANGES, WEIGHTS, BIAS, CLIPPING, STEPS, CURVES, ROUNDING, RUNTIME
)  # fmt: skip
"""The ladder from the model as it was trained to the runtime as it runs; each rung exchanges one thing more."""
FRAMEWORK, GRAPH, KERNEL, SMALLER, OUTPUT_GRID = "framework", "graph", "kernel", "smaller", "output_grid"
"""Of the frontier alone: what the reference's own floats add, what differs between the two graphs, the runtime's
arithmetic (curves and rounding), stretches of operators that are not told apart, and the output's own grid."""
