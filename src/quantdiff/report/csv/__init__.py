"""Results as CSV tables."""
