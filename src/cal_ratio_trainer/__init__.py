"""Train the ATLAS CalRatio jet network, from DiVertAnalysis ntuples to files that run in the experiment's software."""

__version__ = "0.1.0"
