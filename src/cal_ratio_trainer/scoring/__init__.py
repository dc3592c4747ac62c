"""Jets of any file with a network's scores: streamed, marked by the part of the training they had, compared."""
