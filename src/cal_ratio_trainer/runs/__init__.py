"""Runs on disk: folder, record, history, networks and test jets; runs imported from the earlier program.

A run has networks 0 ... K-1. Without folds or seeds K is 1 and the network reads every jet. With folds a `FoldRule`
names the network that reads a jet: the one that was trained without its event. With seeds (`EnsembleRule`) all networks
read every jet, and scores are averaged. A rule of None stands for the first case, in `Run.set_rule`,
`networks.Networks`, and in scoring `Scorer`.
"""
