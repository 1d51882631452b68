"""Golden vectors as files: NumPy archives, C headers with a program that checks itself, or words for $readmemh."""
