"""What of a live Keras model can be exchanged for what the file has, one mechanism at a time."""
