"""Which value of one model is which value of the other, with the leftovers of both sides."""
