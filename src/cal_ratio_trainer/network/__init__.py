"""The network: shape and names of its weights, layers, encoders of constituents, classifier, methods of agreement.

`JetTensors` holds the jets of a data set, `Batch` some of them in the order in which the recurrence reads them.
README.md says why they are laid out so. `kernels` has the compiled loops. Files of networks are not here but in
`formats`, the updates of weights in `training`.
"""
