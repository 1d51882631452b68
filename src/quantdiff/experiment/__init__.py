"""Models to train and experiments to repeat."""
