"""Results that show themselves in a notebook, and the widget to walk through layers."""
