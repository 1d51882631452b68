"""The parts of an LSTM cell."""
