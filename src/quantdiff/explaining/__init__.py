"""Why two results lie apart."""
