"""Float32 sums in the order in which a runtime makes them."""
