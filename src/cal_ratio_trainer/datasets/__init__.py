"""From training files to what a training reads: checks, choice, weights, split by event, folds, place of the data.

The way of a jet: `training_file.TrainingFile` -> `sample.TrainingSample` -> `sample.TrainingData` (scalars, parts and
weights) -> `network.batch.JetTensors`, by the functions in `data`. Mini-batches are drawn in `training`; test jets that
a run has left are read in `runs`.
"""
