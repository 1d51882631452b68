"""What to change so that a file comes nearer to its reference: choices, what each would do, the smallest set."""
