"""Why two results differ: one mechanism after the other, from the reference as trained to the runtime as it runs."""
