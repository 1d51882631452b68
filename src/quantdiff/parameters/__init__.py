"""Quantization parameters of both sides, and why they differ."""
