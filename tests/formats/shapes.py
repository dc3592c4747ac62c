"""Networks of several shapes, for tests of network files."""

from dataclasses import replace

from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape, branch_shape

ANY_LENGTH = {
    "deep_sets": replace(DEFAULT_SHAPE, encoder="deep_sets"),
    "deep_sets_of_one_layer_with_masses": NetworkShape(
        branches=tuple(branch_shape(name, (7,), 3) for name in ("clusters", "tracks", "muon_segments")),
        masses=2,
        encoder="deep_sets",
    ),
    "transformer": replace(DEFAULT_SHAPE, encoder="transformer"),
    "transformer_of_one_layer_with_masses": NetworkShape(
        branches=tuple(
            branch_shape(name, (7,), 3, options=(("width", 6), ("layers", 1), ("heads", 3), ("hidden", 5)))
            for name in ("clusters", "tracks", "muon_segments")
        ),
        masses=2,
        encoder="transformer",
    ),
}
"""Networks with encoders that take any number of constituents."""

EQUAL_BRANCHES = NetworkShape(
    branches=tuple(branch_shape(name, (8, 8, 8), 4) for name in ("clusters", "tracks", "muon_segments")),
    hidden=(16, 16),
)
"""Many layers of equal shape, whose exchange would not be noticed by shape."""

SHAPES = {
    "default": DEFAULT_SHAPE,
    "other_widths": NetworkShape(
        branches=(
            branch_shape("clusters", (7, 5), 3),
            branch_shape("tracks", (6, 9, 4), 2),
            branch_shape("muon_segments", (3,), 4),
        ),
        hidden=(20, 10),
        dropout=0.4,
    ),
    "two_lstm_layers": replace(DEFAULT_SHAPE, lstm_layers=2),
    "one_mass": replace(DEFAULT_SHAPE, masses=1),
    "two_masses": replace(DEFAULT_SHAPE, masses=2),
    "equal_branches": EQUAL_BRANCHES,
    "no_dropout": replace(DEFAULT_SHAPE, dropout=0.0),
}
