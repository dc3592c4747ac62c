"""Scores of a network for jets of any file, two networks on the same jets, and runs to be analyzed.

Files are read in `streams`, scored and written in `score` and `file_scoring`, compared in `compare`. `candidates`
shortlists the epochs of runs. Networks and the test jets of a run are in `runs`, the pages in `reporting`.
"""
