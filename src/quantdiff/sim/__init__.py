"""The bit-exact simulator: accumulate once, then round as the runtime does."""
