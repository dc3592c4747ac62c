"""Runs on disk: one class for every question about a run, its networks, test jets and figures; import and export.

`stored` reads and checks the files, `record` and `figure_data` write them, `folder` and `state` are what `run.Run` is
made of, `finding` has the names that users give. How a training goes on is not here but in `training`, and what is
written about several runs in `scoring` and `reporting`.

A run has networks 0 ... K-1. Without folds or seeds K is 1 and the network reads every jet. With folds a `FoldRule`
names the network that reads a jet: the one that was trained without its event. With seeds (`EnsembleRule`) all networks
read every jet, and scores are averaged. A rule of None means a single network.
"""
