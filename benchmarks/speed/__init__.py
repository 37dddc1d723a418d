"""Measures the cost of updates, training steps and input: `python -m benchmarks.speed.NAME`."""
