"""Runners: a function (model, batch) → Trace for each engine."""
