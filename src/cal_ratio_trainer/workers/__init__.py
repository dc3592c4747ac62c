"""Executors for many files: this process, local worker processes, or the workers of a Dask cluster.

`executor` defines tasks and the interface of the three, `opening` makes the one that the settings name, and `files`
takes files through it, whole or in pieces. `pieces` names the unfinished files beside an output. `child` is the only
kind of child process: local workers, processes that draw, and the one that compiles. Not here: content of files, jets.
"""
