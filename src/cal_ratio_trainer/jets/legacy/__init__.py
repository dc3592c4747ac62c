"""Flat frames of the earlier program: pickles and Parquet files with one column per slot and feature.

`frames` reads them as jets, `writer` writes jets as such frames, `pickles` reads and writes pickles without executing
anything in them. Not here: networks and runs of earlier programs (`formats`, `runs`).
"""
