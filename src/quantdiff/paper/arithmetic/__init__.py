"""How each op is worked out on paper: one family of ops, one file."""
