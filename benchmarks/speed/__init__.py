"""What an update, a training step and the input cost: `python -m benchmarks.speed.NAME`."""
