"""Experiments with hundreds of trainings of small networks on small images."""
