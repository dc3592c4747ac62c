"""Deep Sets and transformer as layers of Keras 3, so that a `.keras` file can contain them.

Only built-in layers are used, and for the products in an attention the operation `Matmul`, which Keras writes like a
layer: nothing in a file runs code of its own, as a Lambda layer would. Dropout, which does nothing in a file, is left
out of the branches. Slots of zeros are empty ones; the layers find them themselves.
"""

from cal_ratio_trainer.formats.layers import BranchLayers, Layer, LayerGraph, classifier_layers
from cal_ratio_trainer.network.encoders.base import LAYER_NORM_EPSILON, BranchShape, encoder_named
from cal_ratio_trainer.network.shape import NetworkShape

OPERATIONS = {"Matmul": "keras.src.ops.numpy"}
"""Operations of Keras that a file lists like layers, with the module that Keras writes."""

JOINING = frozenset({"Add", "Concatenate", "Dot", "Multiply"})
"""Layers that take what they read as one argument, a list."""

_LARGE = 3e38
"""Times the largest size of a feature: at least 1 for all numbers of single precision but those below 1e-38."""

_EXCLUDED = 1e9
"""Subtracted from the score of an empty slot: its exponential is 0 beside any other. Exact in single precision."""


def keras_layers(shape: NetworkShape) -> tuple[Layer, ...]:
    """All layers of the classifier in a Keras file, in the order of `model.layers` once Keras has built it.

    If Keras cannot represent the encoder, returns the layers of `classifier_layers`.
    """
    return classifier_layers(shape, _ENCODERS.get(shape.encoder))


def _deep_sets(graph: LayerGraph, branch: BranchShape, source: str) -> str:
    last, slots, units = _Branch(graph, branch, source), branch.slots, branch.dense[-1]
    outputs = last.source
    for i, width in enumerate(branch.dense):
        outputs = last.dense(f"dense_{i}", outputs, width, f"dense.{i}", activation="relu")
    filled = last.add("Permute", "filled", (last.filled(),), (slots, 1), dims=[2, 1])
    # ReLU's outputs are not below 0, so the maximum may be over empty slots too.
    masked = last.add("Multiply", "of_filled", (outputs, filled), (slots, units))
    total = last.add("Dot", "sum", (filled, masked), (1, units), axes=1, normalize=False)
    total = last.add("Reshape", "total", (total,), (units,), target_shape=[units])
    largest = last.add(
        *("GlobalMaxPooling1D", "largest", (masked,), (units,)), data_format="channels_last", keepdims=False
    )
    return last.add("Concatenate", "pooled", (total, largest), (2 * units,), axis=-1)


def _transformer(graph: LayerGraph, branch: BranchShape, source: str) -> str:
    part, slots = _Branch(graph, branch, source), branch.slots
    options = {**encoder_named("transformer").options, **dict(branch.options)}
    width, heads, hidden = options["width"], options["heads"], options["hidden"]
    by_key = part.add(*("Rescaling", "empty_keys", (part.filled(),), (1, slots)), scale=_EXCLUDED, offset=-_EXCLUDED)
    by_slot = part.add("Permute", "empty_slots", (by_key,), (slots, 1), dims=[2, 1])
    by_key = part.add("Reshape", "empty_keys_by_head", (by_key,), (1, 1, slots), target_shape=[1, 1, slots])
    x = part.dense("embedding", part.source, width, "embedding", activation="relu")
    for i in range(options["layers"]):
        block, stem = f"blocks.{i}", f"block_{i}"
        normed = part.norm(f"{stem}_attention_norm", x, width, f"{block}.attention_norm")
        projected = part.dense(f"{stem}_projection", normed, 3 * width, f"{block}.projection")
        attended = _attention(part, stem, projected, by_key, width // heads, heads)
        joined = part.dense(f"{stem}_joined", attended, width, f"{block}.joined")
        x = part.add("Add", f"{stem}_attended", (x, joined), (slots, width))
        normed = part.norm(f"{stem}_dense_norm", x, width, f"{block}.dense_norm")
        expanded = part.dense(f"{stem}_expanded", normed, hidden, f"{block}.expanded", activation="relu")
        contracted = part.dense(f"{stem}_contracted", expanded, width, f"{block}.contracted")
        x = part.add("Add", f"{stem}_sum", (x, contracted), (slots, width))
    x = part.norm("norm", x, width, "norm")
    scores = part.add("Add", "scores", (part.dense("pooling", x, 1, "pooling"), by_slot), (slots, 1))
    # One more slot, for nothing: its score is 0, and so are its values.
    every = part.add("ZeroPadding1D", "all_scores", (scores,), (slots + 1, 1), padding=[0, 1])
    shares = part.add("Softmax", "shares", (every,), (slots + 1, 1), axis=1)
    values = part.add("ZeroPadding1D", "all_values", (x,), (slots + 1, width), padding=[0, 1])
    pooled = part.add("Dot", "pooled", (shares, values), (1, width), axes=1, normalize=False)
    return part.add("Reshape", "vector", (pooled,), (width,), target_shape=[width])


def _attention(part: "_Branch", stem: str, projected: str, by_key: str, per_head: int, heads: int) -> str:
    """Outputs of all heads side by side, [slots, width], from queries, keys and values [slots, 3 width]."""
    slots, of_head = part.slots, (heads, part.slots, per_head)
    shape = (slots, 3, heads, per_head)
    split = part.add("Reshape", f"{stem}_split", (projected,), shape, target_shape=list(shape))
    order = part.add("Permute", f"{stem}_by_head", (split,), (3, *of_head), dims=[2, 3, 1, 4])
    query, key, value = (
        part.add(
            "Reshape",
            f"{stem}_{name}",
            (
                part.add(
                    *("Cropping3D", f"{stem}_{name}_alone", (order,), (1, *of_head)),
                    cropping=[[number, 2 - number], [0, 0], [0, 0]],
                    data_format="channels_last",
                ),
            ),
            of_head,
            target_shape=list(of_head),
        )
        for number, name in enumerate(("query", "key", "value"))
    )
    turned = part.add("Permute", f"{stem}_turned_key", (key,), (heads, per_head, slots), dims=[1, 3, 2])
    by_slot = (heads, slots, slots)
    products = part.add("Matmul", f"{stem}_products", (query, turned), by_slot)
    scaled = part.add("Rescaling", f"{stem}_scaled", (products,), by_slot, scale=per_head**-0.5, offset=0.0)
    scores = part.add("Add", f"{stem}_scores", (scaled, by_key), by_slot)
    shares = part.add("Softmax", f"{stem}_shares", (scores,), by_slot, axis=-1)
    outputs = part.add("Matmul", f"{stem}_outputs", (shares, value), of_head)
    ordered = part.add("Permute", f"{stem}_by_slot", (outputs,), (slots, heads, per_head), dims=[2, 1, 3])
    width = heads * per_head
    return part.add("Reshape", f"{stem}_heads", (ordered,), (slots, width), target_shape=[slots, width])


class _Branch:
    """The layers of one kind of constituent while they are put together."""

    def __init__(self, graph: LayerGraph, branch: BranchShape, source: str) -> None:
        self._graph, self._name, self.source = graph, branch.name, source
        self.slots, self._inputs = graph.layers[source].output

    def add(self, kind: str, name: str, sources: tuple[str, ...], output: tuple[int, ...], **settings: object) -> str:
        """Adds a layer without weights; returns its name."""
        return self._graph.add(Layer(kind, f"{self._name}_{name}", sources, output, settings))

    def dense(self, name: str, source: str, units: int, weights: str, activation: str = "linear") -> str:
        """A dense layer on each slot."""
        settings = {"units": units, "activation": activation, "use_bias": True}
        names = tuple(f"{self._name}.{weights}.{part}" for part in ("kernel", "bias"))
        return self._graph.add(Layer("Dense", f"{self._name}_{name}", (source,), (self.slots, units), settings, names))

    def norm(self, name: str, source: str, width: int, weights: str) -> str:
        """A layer norm of each slot."""
        settings = {"axis": -1, "epsilon": LAYER_NORM_EPSILON, "center": True, "scale": True}
        names = tuple(f"{self._name}.{weights}.{part}" for part in ("scale", "bias"))
        return self._graph.add(
            Layer("LayerNormalization", f"{self._name}_{name}", (source,), (self.slots, width), settings, names)
        )

    def filled(self) -> str:
        """1 for slots that are not all zeros, else 0: [1, slots]."""
        size, slots = (self.slots, self._inputs), self.slots
        limits = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}
        negative = self.add("Rescaling", "negative", (self.source,), size, scale=-1.0, offset=0.0)
        parts = tuple(
            self.add("ReLU", f"{name}_part", (source,), size, **limits)
            for name, source in (("positive", self.source), ("negative", negative))
        )
        sizes = self.add("Add", "sizes", parts, size)
        by_feature = self.add("Permute", "sizes_by_feature", (sizes,), (self._inputs, slots), dims=[2, 1])
        largest = self.add(
            *("GlobalMaxPooling1D", "size", (by_feature,), (1, slots)), data_format="channels_last", keepdims=True
        )
        scaled = self.add("Rescaling", "large_size", (largest,), (1, slots), scale=_LARGE, offset=0.0)
        return self.add("ReLU", "is_filled", (scaled,), (1, slots), **(limits | {"max_value": 1.0}))


_ENCODERS: dict[str, BranchLayers] = {
    "deep_sets": _deep_sets,
    "transformer": _transformer,
}
