"""Settings of a network and of the way it learns: optimisation, agreement of data and simulation, layers."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from cal_ratio_trainer.config.base import Settings

ADVERSARY = "adversary"
NO_AGREEMENT = "none"

DEFAULT_STRENGTHS = {ADVERSARY: 10.0, "distance": 2.7, "reversal": 3.0}
"""Default strength of each method; 1 for all others."""

MAX_LAYERS, MAX_UNITS = 1024, 1 << 16
"""Limits on the layers of one kind of a network, and on the units of a layer; in its files too."""

Schedule = Literal["constant", "warmup_cosine", "one_cycle"]
"""Learning rate by step; `training.optimizers.learning_rate_at` has the formulas."""


class OptimisationSettings(Settings):
    """Epochs, mini-batches, learning rate and optimiser of a training."""

    epochs: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="Number of epochs to train, or to add to a finished run. [epochs]",
    )
    early_stopping: int | None = Field(
        default=None,
        ge=1,
        description="End the training when none of the last N epochs has come onto the Pareto front of AUC and K-S; "
        "null trains all epochs. [epochs]",
    )
    num_splits: int | None = Field(default=50, ge=1, description="Number of mini-batches per epoch. [mini-batches]")
    accumulate: int = Field(
        default=1,
        ge=1,
        le=10_000,
        description="Number of pieces in which a mini-batch goes through the network, with gradients summed: less "
        "memory, and the same training except for dropout masks. [pieces]",
    )
    batch_size: int | None = Field(
        default=None, ge=1, description="Main jets per mini-batch, instead of num_splits. [jets]"
    )
    learning_rate: float = Field(default=0.0008, gt=0, description="Highest learning rate of the network. [1]")
    adversary_learning_rate: float | None = Field(
        default=None, gt=0, description="Constant learning rate of the adversary; null takes learning_rate. [1]"
    )
    schedule: Schedule = Field(
        default="constant",
        description="Learning rate of the network by step: constant; warmup_cosine, which rises in the first 3 % of "
        "all steps and then falls to 0; one_cycle, which rises in the first 30 % and then falls to nearly 0.",
    )
    optimizer: Literal["nadam", "adamw"] = Field(
        default="nadam", description="Optimiser of the network; the adversary's is Nadam."
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="Weight decay of AdamW on kernels, in units of the learning rate. [1]"
    )
    clip_gradient: float | None = Field(
        default=None,
        gt=0,
        description="Largest norm of the network's gradient in a step; larger gradients are scaled down; null sets no "
        "limit. [1]",
    )
    standardize_inputs: bool = Field(
        default=False,
        description="Train on standardised inputs of the constituents: minus their mean, divided by their standard "
        "deviation. The networks that are kept contain this change and read the inputs as they are.",
    )
    average_weights: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Decay per step of an exponential average of the network's weights, e.g. 0.999. The average is "
        "validated, kept and exported; null takes the weights themselves. [1]",
    )

    @model_validator(mode="before")
    @classmethod
    def _batch_size_alone(cls, given: Any) -> Any:
        # By itself it takes the place of the default num_splits, as on the command line.
        if isinstance(given, dict) and given.get("batch_size") is not None and "num_splits" not in given:
            return {**given, "num_splits": None}
        return given


class AgreementSettings(Settings):
    """Method that makes data and simulation agree."""

    agreement: str = Field(
        default="adversary",
        description="Method that makes the outputs agree between data and simulation in the control region: "
        "'adversary' (the manual's), 'distance', 'reversal', 'none', or one that is registered under its name.",
    )
    agreement_strength: float | None = Field(
        default=None,
        gt=0,
        description="Factor on the method's loss; null: 10 for 'adversary', 2.7 for 'distance', 3 for 'reversal', 1 "
        "for others. [1]",
    )
    distance_rise: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="Share of the planned steps over which the strength of the distance rises linearly from 0; 0: full "
        "strength from the first step. [fraction]",
    )
    adversary_weight: float | None = Field(
        default=None,
        ge=0,
        exclude=True,
        description="The manual's name: agreement 'adversary' with this strength; 0 is agreement 'none'. [1]",
    )
    adversary_input: Literal["log_odds", "probabilities"] = Field(
        default="log_odds",
        description="Inputs of the adversary: log-odds of the network's outputs, or their probabilities as in the "
        "earlier program.",
    )
    adversary_momentum: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Momentum of the running averages by which the adversary normalises in the network's update; 0 "
        "takes the averages of its last update, 0.99 is that of the earlier program. [fraction]",
    )

    @property
    def has_agreement(self) -> bool:
        """True where data and simulation are made to agree, for which a control region is needed."""
        return self.agreement != NO_AGREEMENT

    @property
    def has_adversary(self) -> bool:
        """True where the adversary is trained, and its losses are known."""
        return self.agreement == ADVERSARY


class NetworkSettings(Settings):
    """Layers and inputs of the network."""

    regularization: float = Field(
        default=1e-11, ge=0, description="Strength of the L1 and of the L2 penalty on kernels. [1]"
    )
    dropout: float = Field(
        default=0.2, ge=0, lt=1, description="Share of values that each dropout layer drops. [fraction]"
    )

    encoder: str = Field(
        default="lstm",
        description="Architecture that turns a jet's constituents of one kind into a vector: 'lstm', 'deep_sets', "
        "'transformer', or one that is registered under its name.",
    )
    auxiliary_weight: float = Field(
        default=0.0,
        ge=0,
        description="Weight in the loss of auxiliary heads, which classify jets by the clusters, tracks or muon "
        "segments alone, during the training only; 0: no such heads. [1]",
    )
    encoder_options: list[str] = Field(
        default=[],
        description="Options of the encoder, e.g. width=64,heads=8 for a transformer (its width, layers and heads).",
    )
    cluster_filters: list[int] = Field(
        default=[64, 32, 32, 16], min_length=1, description="Widths of the dense layers on each cluster. [units]"
    )
    track_filters: list[int] = Field(
        default=[64, 32, 32, 16], min_length=1, description="Widths of the dense layers on each track. [units]"
    )
    muon_segment_filters: list[int] = Field(
        default=[32, 16, 8], min_length=1, description="Widths of the dense layers on each muon segment. [units]"
    )
    cluster_lstm_nodes: int = Field(
        default=10, ge=1, le=MAX_UNITS, description="Width of the LSTM over clusters. [units]"
    )
    track_lstm_nodes: int = Field(default=10, ge=1, le=MAX_UNITS, description="Width of the LSTM over tracks. [units]")
    muon_segment_lstm_nodes: int = Field(
        default=5, ge=1, le=MAX_UNITS, description="Width of the LSTM over muon segments. [units]"
    )
    lstm_layers: int = Field(
        default=1,
        ge=1,
        le=MAX_LAYERS,
        description="Number of LSTM layers, one above the other, for each kind of constituent. [layers]",
    )
    hidden_layer_fraction: float = Field(
        default=1.0,
        gt=0,
        le=MAX_UNITS / 512,
        description="Factor on the widths 512 and 64 of the two hidden layers. [1]",
    )
    mH_parametrization: bool = Field(default=False, description="Give the network the mediator's mass as an input.")
    mS_parametrization: bool = Field(
        default=False, description="Give the network the long-lived particle's mass as an input."
    )

    @field_validator("cluster_filters", "track_filters", "muon_segment_filters")
    @classmethod
    def _some_units(cls, widths: list[int]) -> list[int]:
        if min(widths) < 1 or max(widths) > MAX_UNITS or len(widths) > MAX_LAYERS:
            raise ValueError(f"at most {MAX_LAYERS} layers, each of 1 to {MAX_UNITS} units, are possible, got {widths}")
        return widths

    @property
    def parametrised_masses(self) -> tuple[str, ...]:
        """Mass columns that the network reads, in order."""
        chosen = {"llp_mH": self.mH_parametrization, "llp_mS": self.mS_parametrization}
        return tuple(name for name, wanted in chosen.items() if wanted)
