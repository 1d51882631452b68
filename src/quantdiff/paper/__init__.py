"""The arithmetic of one element as on paper, and golden vectors for whole operators."""
