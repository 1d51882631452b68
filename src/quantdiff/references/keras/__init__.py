"""Keras models, of Keras 2 and 3, quantization-aware ones of TFMOT, and SavedModels."""
