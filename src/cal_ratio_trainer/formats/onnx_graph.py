"""An ONNX graph while it is put together, node by node, and the preparation of raw inputs in it.

Nothing is traced: traces carry paths of source files, so their bytes differ from folder to folder. Only operators whose
meaning has not changed since opset 11 are used, so that one way of writing serves all later ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cal_ratio_trainer.errors import ConfigError, UserError
from cal_ratio_trainer.formats.layers import JET_INPUT, input_name, onnx_slots
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.schema import GEV_A_TEV, MISSING_T0, Schema
from cal_ratio_trainer.network.encoders.base import ONE_MORE_SLOT, BranchShape
from cal_ratio_trainer.network.shape import NetworkShape

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto, ValueInfoProto


OLDEST_OPSET = 11
"""Version that ONNX runtimes have read since 2019."""

CONVERTED_JETS = "converted_jets"
"""Input of the jets' own numbers as converted, in a file that scales jets itself."""

_BATCH = "jets"


class MissingOnnx(UserError):
    """A package that ONNX files need is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(
            f"ONNX files need the package {package}, which is not installed: pip install 'cal_ratio_trainer[onnx]'"
        )


class BadOpset(UserError):
    """A version of ONNX' operators that cannot be written."""

    def __init__(self, opset: int, newest: int) -> None:
        super().__init__(f"opset is {opset}, expected {OLDEST_OPSET} to {newest} (what the installed onnx knows)")


class OnnxGraph:
    """Nodes and constants in the order in which they were added."""

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}
        self._inputs: list[ValueInfoProto] = []
        self._prefix = ""

    def part(self, prefix: str) -> "OnnxGraph":
        """The same graph; names of nodes and constants that are added through it begin with `prefix`."""
        part = OnnxGraph()
        part._nodes, part._constants, part._inputs = self._nodes, self._constants, self._inputs
        part._prefix = self._prefix + prefix
        return part

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Adds a node with one output; returns the output's name in the file."""
        return self.add_with_outputs(operator, inputs, [output], **attributes)

    def add_with_outputs(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> str:
        """Adds a node with several outputs, '' for unused ones; returns the last one's name."""
        from onnx import helper

        named = [name and self._prefix + name for name in outputs]
        self._nodes.append(helper.make_node(operator, list(inputs), named, name=named[-1], **attributes))
        return named[-1]

    def constant(self, name: str, values: np.ndarray[Any, Any] | np.floating[Any]) -> str:
        """Adds a constant unless one with this name exists; returns its name."""
        from onnx import numpy_helper

        name = self._prefix + name
        self._constants.setdefault(name, numpy_helper.from_array(np.array(values, order="C"), name))
        return name

    def add_input(self, name: str, shape: Sequence[int | str]) -> str:
        """Adds an input of float32 [jets, *shape], with a name for each free dimension; returns its name."""
        self._inputs.append(_float_tensor(name, shape))
        return name

    def model_bytes(self, output: str, shape: Sequence[int], opset: int, properties: Mapping[str, str]) -> bytes:
        """The content of a file, checked by onnx itself.

        Args:
            output: the tensor that the network gives, float32 [jets, *shape].
            shape: see there.
            opset: the version of the operators.
            properties: metadata of the file, by name.

        Raises:
            BadOpset: the installed onnx does not know this version, or it is older than 11.
        """
        import onnx
        from onnx import helper

        newest = onnx.defs.onnx_opset_version()
        if not OLDEST_OPSET <= opset <= newest:
            raise BadOpset(opset, newest)
        graph = helper.make_graph(
            self._nodes, "cal_ratio", self._inputs, [_float_tensor(output, shape)], list(self._constants.values())
        )
        operators = helper.make_opsetid("", opset)
        model = helper.make_model(
            graph,
            opset_imports=[operators],
            ir_version=helper.find_min_ir_version_for([operators]),
            producer_name="cal_ratio_trainer",
        )
        helper.set_model_props(model, dict(properties))
        onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString(deterministic=True)
        return content


def require_onnx() -> None:
    """Checks that the packages for ONNX files are installed. Raises MissingOnnx, which names the missing one."""
    import importlib.util

    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise MissingOnnx(package)


def _float_tensor(name: str, shape: Sequence[int | str]) -> "ValueInfoProto":
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [_BATCH, *shape])


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of converted jets for a network.

    Attributes:
        scaling: the range [GeV] that becomes 0-1.
        missing_t0: what it reads for segments without a measured time [ns]; None leaves 99999.
        padding: for each branch its values in an empty slot, [inputs]; zeros if they are not given.
    """

    scaling: Scaling
    missing_t0: float | None = None
    padding: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def padding_of(self, branch: BranchShape) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """The padding row of a branch, [inputs]."""
        return np.asarray(self.padding.get(branch.name, np.zeros(branch.inputs)), dtype=np.float32)


def converted_input(branch: BranchShape) -> str:
    """Name of the input of a branch that takes converted constituents.

    The names differ from those of scaled inputs, so that they cannot be confused.
    """
    return f"converted_{branch.name}"


def add_preprocessing(graph: OnnxGraph, shape: NetworkShape, preprocessing: Preprocessing) -> dict[str, str]:
    """Adds inputs of converted jets and the nodes that scale them.

    The inputs are, for each branch, `converted_<kind>` [jets, slots, inputs], features as converted, zeros in empty
    slots (any number of slots if the encoder takes that), and `converted_jets` [jets, jet inputs + masses] with pt
    and masses in GeV. Masses are only there: the nodes give them to the constituents.

    Returns:
        For each input layer of the network the tensor that takes its place.

    Raises:
        ConfigError: the network does not read a feature by which others are scaled.
    """
    _refuse_hidden_features(shape.schema)
    for branch in shape.branches:
        graph.add_input(converted_input(branch), (onnx_slots(shape, branch), branch.inputs))
    jets = graph.add_input(CONVERTED_JETS, (shape.jet_inputs,))
    tensors = {JET_INPUT: _scaled_jets(graph, jets, shape, preprocessing.scaling)}
    for branch in shape.branches:
        part = _Branch(graph, shape, branch, preprocessing)
        tensors[input_name(branch)] = part.scaled(converted_input(branch), tensors[JET_INPUT], shape.masses)
    return tensors


def _refuse_hidden_features(schema: Schema) -> None:
    for kind in schema.constituents:
        turned = any(feature.scaling == "side" for feature in kind.features)
        needed = [f for f in kind.features if f.scaling == "fraction" or (turned and f.name in ("pt", "eta"))]
        if hidden := [f"{kind.prefix}_{feature.name}" for feature in needed if not feature.network_input]:
            missing = f"needs {', '.join(hidden)}, which the network does not read; write it without"
            raise ConfigError([f"an ONNX file with preprocessing {missing}"])


def _scaled_jets(graph: OnnxGraph, jets: str, shape: NetworkShape, scaling: Scaling) -> str:
    shift, unit = np.zeros(shape.jet_inputs), np.ones(shape.jet_inputs)
    for number, feature in enumerate(feature for feature in shape.schema.jet if feature.network_input):
        shift[number], unit[number] = scaling.shift_and_unit(feature)
    unit[shape.jet_inputs - shape.masses :] = GEV_A_TEV
    scaled = _linear(graph, _cast(graph, jets, f"{CONVERTED_JETS}/double", np.float64), CONVERTED_JETS, shift, unit)
    return _finite(graph, _cast(graph, scaled, f"{CONVERTED_JETS}/float", np.float32), CONVERTED_JETS)


class _Branch:
    """The nodes of one kind of constituent."""

    def __init__(
        self, graph: OnnxGraph, shape: NetworkShape, branch: BranchShape, preprocessing: Preprocessing
    ) -> None:
        self._graph, self._branch, self._preprocessing = graph, branch, preprocessing
        self._jet_inputs, self._slots = len(shape.schema.jet_inputs), onnx_slots(shape, branch)
        kind = shape.schema.kind(branch.name)
        self._features = [kind.features[i] for i in kind.inputs]
        self._names = [feature.name for feature in self._features]

    def scaled(self, source: str, jets: str, masses: int) -> str:
        """The tensor that the network reads, [jets, slots, inputs + masses]; `jets` ends with the masses."""
        graph, name = self._graph, self._branch.name
        filled = self._filled(source)
        values = _cast(graph, self._with_missing_t0(source), f"{name}/double", np.float64)
        units = [self._preprocessing.scaling.shift_and_unit(feature) for feature in self._features]
        shift, unit = (np.array(each, dtype=np.float64) for each in zip(*units, strict=True))
        scaled = self._with_fractions(values, _linear(graph, values, name, shift, unit))
        turned = self._turned(values, _cast(graph, scaled, f"{name}/float", np.float32), filled)
        padding = graph.constant(f"{name}/padding", self._preprocessing.padding_of(self._branch))
        result = graph.add("Where", [filled, _finite(graph, turned, name), padding], f"{name}/scaled")
        if not masses:
            return result
        return graph.add("Concat", [result, self._masses(filled, jets, masses)], f"{name}/with_masses", axis=2)

    def _filled(self, source: str) -> str:
        """True for slots with a constituent, [jets, slots, 1]."""
        graph, name = self._graph, self._branch.name
        zero = graph.constant("zero", np.float32(0))
        ones = graph.constant(f"{name}/ones", np.ones((self._branch.inputs, 1), dtype=np.float32))
        unknown = graph.add("IsNaN", [source], f"{name}/unknown")
        known = graph.add("Where", [unknown, zero, source], f"{name}/known")
        size = graph.add("MatMul", [graph.add("Abs", [known], f"{name}/sizes"), ones], f"{name}/size")
        return graph.add("Greater", [size, zero], f"{name}/filled")

    def _with_missing_t0(self, source: str) -> str:
        value, graph, name = self._preprocessing.missing_t0, self._graph, self._branch.name
        if value is None or "t0" not in self._names:
            return source
        is_t0 = graph.constant(f"{name}/is_t0", np.array([feature == "t0" for feature in self._names]))
        missing = graph.constant(f"{name}/not_measured", np.float32(MISSING_T0))
        equal = graph.add("Equal", [source, missing], f"{name}/is_not_measured")
        chosen = graph.add("And", [equal, is_t0], f"{name}/t0_is_not_measured")
        replacement = graph.constant(f"{name}/missing_t0", np.float32(value))
        return graph.add("Where", [chosen, replacement, source], f"{name}/with_missing_t0")

    def _with_fractions(self, values: str, scaled: str) -> str:
        """Layer energies divided by their sum; what is not finite becomes 0 at the end, like everything else."""
        layers = [number for number, feature in enumerate(self._features) if feature.scaling == "fraction"]
        if not layers:
            return scaled
        graph, name = self._graph, self._branch.name
        first, after = layers[0], layers[-1] + 1
        energies = self._columns(values, "energies", range(first, after))
        everywhere = graph.constant(f"{name}/all_layers", np.ones((after - first, after - first)))
        total = graph.add("MatMul", [energies, everywhere], f"{name}/energy")
        parts = [
            self._columns(scaled, "before_layers", range(first)),
            graph.add("Div", [energies, total], f"{name}/fractions"),
            self._columns(scaled, "behind_layers", range(after, self._branch.inputs)),
        ]
        return graph.add("Concat", parts, f"{name}/with_fractions", axis=2)

    def _turned(self, values: str, scaled: str, filled: str) -> str:
        """Eta times the sign of sum(eta * pt) over the jet; a sum of 0, or an unknown one, counts as positive."""
        turned = np.array([feature.scaling == "side" for feature in self._features])
        if not turned.any():
            return scaled
        graph, name = self._graph, self._branch.name
        pt, eta = (self._columns(values, feature, [self._names.index(feature)]) for feature in ("pt", "eta"))
        product = graph.add("Mul", [pt, eta], f"{name}/eta_times_pt")
        # The ones are the left factor: onnxruntime 1.15 fuses a transposed product of doubles to a missing operator.
        if isinstance(self._slots, int):
            ones = graph.constant(f"{name}/all_slots", np.ones((1, self._slots)))
        else:
            # As many as there are slots, and one slot more: onnxruntime need not sum over none.
            one_more = graph.constant("one_more_slot", ONE_MORE_SLOT)
            product = graph.add("Pad", [product, one_more], f"{name}/eta_times_pt_and_zero")
            weights = graph.add("Pad", [_cast(graph, filled, f"{name}/weights", np.float64), one_more], f"{name}/all")
            row = graph.constant("one_row", np.array([0, 1, -1]))
            ones = graph.add("Reshape", [weights, row], f"{name}/all_slots")
        sums = graph.add("MatMul", [ones, product], f"{name}/side")
        negative = graph.add("Less", [sums, graph.constant("zero_double", np.float64(0))], f"{name}/is_negative")
        signs = np.where(turned, np.float32(-1), np.float32(1))
        turning, resting = graph.constant(f"{name}/turn_eta", signs), graph.constant("one", np.float32(1))
        factor = graph.add("Where", [negative, turning, resting], f"{name}/sign")
        return graph.add("Mul", [scaled, factor], f"{name}/turned")

    def _masses(self, filled: str, jets: str, count: int) -> str:
        graph, name = self._graph, self._branch.name
        wanted = graph.constant("masses/columns", np.arange(self._jet_inputs, self._jet_inputs + count))
        chosen = graph.add("Gather", [jets, wanted], f"{name}/masses", axis=1)
        one_slot = graph.constant("masses/shape", np.array([-1, 1, count], dtype=np.int64))
        wide = graph.add("Reshape", [chosen, one_slot], f"{name}/masses_of_slots")
        weight = _cast(graph, filled, f"{name}/filled_as_number", np.float32)
        return graph.add("Mul", [weight, wide], f"{name}/masses_of_filled")

    def _columns(self, source: str, what: str, columns: range | list[int]) -> str:
        chosen = self._graph.constant(f"{self._branch.name}/{what}/columns", np.array(list(columns), dtype=np.int64))
        return self._graph.add("Gather", [source, chosen], f"{self._branch.name}/{what}", axis=2)


def _linear(graph: OnnxGraph, source: str, name: str, shift: np.ndarray[Any, Any], unit: np.ndarray[Any, Any]) -> str:
    """(source - shift) / unit, by feature, in double precision."""
    shifted = graph.add("Sub", [source, graph.constant(f"{name}/shift", shift)], f"{name}/shifted")
    return graph.add("Div", [shifted, graph.constant(f"{name}/unit", unit)], f"{name}/in_units")


def _finite(graph: OnnxGraph, source: str, name: str) -> str:
    """Replaces non-finite values by 0, as when jets are loaded for training."""
    zero = graph.constant("zero", np.float32(0))
    unknown, infinite = graph.add("IsNaN", [source], f"{name}/is_nan"), graph.add("IsInf", [source], f"{name}/is_inf")
    bad = graph.add("Or", [unknown, infinite], f"{name}/is_bad")
    return graph.add("Where", [bad, zero, source], f"{name}/finite")


def _cast(graph: OnnxGraph, source: str, output: str, kind: type[np.floating[Any]]) -> str:
    from onnx import helper

    return graph.add("Cast", [source], output, to=helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
