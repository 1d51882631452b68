"""Files become values: the flatbuffer of a ``.tflite``, data sets, recorded tensors, code of the user."""
