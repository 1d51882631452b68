"""The words of an account: what each rung exchanges, and what each mechanism is called; tables and pages share them."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "reference": "as trained",
    "real": "the reference in exact arithmetic",
    "rewritten": "the file's graph, the reference's numbers",
    "input_quantized": "input rounded to its grid",
    "activation_ranges": "activation ranges of the file",
    "weights": "weights of the file",
    "bias_to_int32": "biases of the file",
    "activation_clipping": "activations clipped to their ranges",
    "activation_rounding": "activations rounded to their steps",
    "op_approximation": "curves as the runtime has them",
    "rounding": "the runtime's rounding",
    "runtime": "the runtime itself",
}
"""What each rung exchanges, in the order of the ladder: a row of the table."""
CAUSES: Mapping[str, str] = {
    "framework": "the float arithmetic of the reference",
    "graph": "another graph",
    "input_quantized": "the input's grid",
    "activation_ranges": "activation ranges",
    "weights": "weights",
    "bias_to_int32": "biases",
    "activation_clipping": "clipping",
    "activation_rounding": "rounding",
    "op_approximation": "curves of the runtime",
    "rounding": "the runtime's rounding",
    "kernel": "the runtime's kernels",
    "smaller": "operators too small to tell apart",
    "output_grid": "the output's own grid",
    "runtime": "the runtime itself",
}
"""What each mechanism is called in a sentence, those of the frontier too."""


PLANTED = "wrong weights, not rounding"
TRAINED = "the reference was trained further, was quantized by itself, or is another"
