"""A whole graph on the simulator: operators in their order, state, and real arithmetic in place of a runtime's."""
