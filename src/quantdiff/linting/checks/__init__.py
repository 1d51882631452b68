"""One check per module; each registers itself by its code."""
