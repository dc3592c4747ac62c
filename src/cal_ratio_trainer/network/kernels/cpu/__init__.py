"""Loops for CPUs, compiled by numba, with their autograd functions."""
