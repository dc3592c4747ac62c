"""Who does the work on many files: this process, processes beside it, or the workers of a Dask cluster.

Knows nothing of jets. `crew` says what any of the three can do, `opening` makes the one that was asked for, `files`
takes files through it, whole or in pieces.
"""
