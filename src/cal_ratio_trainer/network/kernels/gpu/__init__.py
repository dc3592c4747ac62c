"""Kernels for graphics cards, compiled by Triton, with their autograd functions."""
