"""Compiled loops of the network with their autograd functions, for CPUs (`cpu`) and GPUs (`gpu`).

Not here: the same formulas in PyTorch, and the choice between them (`network.engine`).
"""
