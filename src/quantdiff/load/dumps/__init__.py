"""Tensors that were recorded on a device: the forms of a dump, and whose tensors they are."""
