"""Layer by layer: figures of every aligned pair, streamed over the data."""
