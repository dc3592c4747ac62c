"""Scores of a network for jets of any file: streamed, marked by part of the training, compared; runs to analyze."""
