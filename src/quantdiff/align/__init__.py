"""Which Keras layer is which tensor of the ``.tflite``, with the leftovers of both sides."""
