"""Training: from settings to a finished run folder.

In order: `continuation` (begins or goes on), `train` (one training), `setup` (data and networks), `loop` (epochs),
`step` (one mini-batch), and `train_networks` for fold sets and ensembles. Formulas of networks are in `network`,
results of runs in `runs`, pages and reports in `reporting`.
"""
