"""Propagation rules: how relevance passes an operation, from its outputs to its inputs."""
