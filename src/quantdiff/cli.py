"""The command line: a handler parses, calls one function, prints."""

import click


@click.group()
def main() -> None:
    """Where, by how much and why a quantized model differs from the one that was trained."""
