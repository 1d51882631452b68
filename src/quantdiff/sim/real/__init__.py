"""What an operator would give if nothing but its output were rounded: real arithmetic on the stored integers."""
