"""Float32 as each runtime computes it: sums in its order, curves and roots by its own formulas."""
