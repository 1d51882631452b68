"""Trained models, whoever trained them: the protocol that the rest of the house knows, and a folder per format."""
