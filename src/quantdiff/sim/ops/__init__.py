"""One op, one file, named for the op."""
