"""The rules by which an epoch can be recommended; `training.recommendation` says what they do."""

from typing import Literal

Rule = Literal["auc-near-lowest-ks", "validation-loss", "adversary", "discriminator", "ks-sum"]
