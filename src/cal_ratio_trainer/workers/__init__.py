"""Executors for many files: this process, local worker processes, or the workers of a Dask cluster.

Knows nothing of jets. `executor` defines the interface of the three, `opening` makes the one that was asked for, and
`files` takes files through it, whole or in pieces. `child` is the one kind of child process: local workers, processes
that draw, and the one that compiles.
"""
