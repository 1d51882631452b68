"""Data as people have them: what is not an array file becomes a ``Batch`` here, and says how it was made."""
