"""How far two results lie apart."""
