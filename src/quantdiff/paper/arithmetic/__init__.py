"""How each op is worked out on paper: one op, one file."""
