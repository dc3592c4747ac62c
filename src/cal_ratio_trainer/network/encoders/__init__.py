"""Architectures that turn a jet's constituents of one kind into a vector of fixed width."""
