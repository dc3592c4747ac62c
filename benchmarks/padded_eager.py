"""The same network and step in plain padded PyTorch, as a reference for the training."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cal_ratio_trainer.network.encoders.base import BranchShape
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, OUTPUTS


class PaddedBranch(nn.Module):
    """Dense layers on every slot, dropout after all but the first, nn.LSTM."""

    def __init__(self, shape: BranchShape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = shape.inputs
        for i, units in enumerate(shape.dense):
            layers += [nn.Linear(width, units), nn.ReLU(), *([nn.Dropout(0.2)] if i else [])]
            width = units
        self.dense = nn.Sequential(*layers)
        self.lstm = nn.LSTM(width, shape.lstm_units, batch_first=True)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [jets, slots, inputs] to [jets, units]."""
        last: Tensor = self.dropout(self.lstm(self.dense(x))[0][:, -1])
        return last


class PaddedClassifier(nn.Module):
    """The classifier on padded arrays."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(PaddedBranch(shape) for shape in DEFAULT_SHAPE.branches)
        width = sum(shape.lstm_units for shape in DEFAULT_SHAPE.branches) + 3
        self.head = nn.Sequential(
            nn.Linear(width, 512),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(64, OUTPUTS),
        )

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Maps padded constituents of the three kinds and features of the jets to logits [jets, 3]."""
        branches = [branch(x) for branch, x in zip(self.branches, inputs, strict=False)]
        logits: Tensor = self.head(torch.cat([*branches, inputs[3]], dim=1))
        return logits


class PaddedStep:
    """Two adversary updates, one of the network, on padded arrays."""

    def __init__(self) -> None:
        self.classifier = PaddedClassifier()
        widths = [OUTPUTS, 24, 12, 6]
        layers: list[nn.Module] = []
        for inputs, units in zip(widths, [24, 12, 6, 1], strict=True):
            layers += [nn.BatchNorm1d(inputs), nn.Linear(inputs, units), nn.Tanh()]
        self.adversary = nn.Sequential(*layers[:-1])
        self.optimizers = [
            torch.optim.NAdam(module.parameters(), lr=8e-4, eps=1e-7, momentum_decay=1.0)
            for module in (self.classifier, self.adversary)
        ]

    def __call__(
        self, main: list[Tensor], control: list[Tensor], adversary: list[Tensor], targets: list[Tensor]
    ) -> None:
        """One step on padded inputs; targets of main, control and adversary jets."""
        for _ in range(2):
            with torch.no_grad():
                probabilities = self.classifier(adversary).softmax(1)
            self.adversary.train()
            loss = functional.binary_cross_entropy_with_logits(self.adversary(probabilities)[:, 0], targets[2].float())
            self.optimizers[1].zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizers[1].step()
        logits = self.classifier([torch.cat(pair) for pair in zip(main, control, strict=True)])
        n = len(main[3])
        self.adversary.eval()
        guess = self.adversary(logits[n:].softmax(1))[:, 0]
        loss = functional.cross_entropy(logits[:n], targets[0])
        loss = loss - 10 * functional.binary_cross_entropy_with_logits(guess, targets[1].float())
        self.optimizers[0].zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizers[0].step()
