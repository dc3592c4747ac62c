"""Training files as a training reads them: selection, weights, split by event, folds, storage in memory or on disk."""
