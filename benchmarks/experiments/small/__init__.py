"""Experiments with hundreds of training runs of small networks on small images."""
