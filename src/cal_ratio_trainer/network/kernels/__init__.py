"""Compiled loops of the network, for CPUs and for graphics cards."""
