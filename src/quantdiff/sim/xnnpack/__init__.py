"""Which operators XNNPACK takes, and how it cuts a graph."""
