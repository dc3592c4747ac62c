"""Training files as a training reads them: selection, weights, split by event, folds, place in memory or on disk."""
