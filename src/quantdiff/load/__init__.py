"""Files become values: flatbuffer, Keras model, data set."""
