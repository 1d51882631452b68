"""Which rule does a device obey, operator by operator: from its own inputs and outputs alone."""
