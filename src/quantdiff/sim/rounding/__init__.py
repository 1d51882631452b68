"""How an accumulator becomes an output: fixed point, multipliers, and each runtime's rule."""
