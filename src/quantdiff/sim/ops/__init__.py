"""The kernels: one family of ops, one file."""
