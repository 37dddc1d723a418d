"""What one update costs, by itself, beside other optimizers: `python -m benchmarks.speed.update`."""
