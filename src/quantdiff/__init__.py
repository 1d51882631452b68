"""Where, by how much and why a quantized TFLite / LiteRT model differs from the one that was trained."""
