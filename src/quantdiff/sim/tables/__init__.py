"""Curves by table, as each runtime builds and reads it."""
