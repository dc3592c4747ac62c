"""Compiled loops of the network, and the same computation in PyTorch's operations."""
