"""An ONNX graph while it is put together, node by node, with names that say what a tensor is.

Nothing is traced: traces carry paths of source files, so their bytes differ from folder to folder. Only operators whose
meaning has not changed since opset 11 are used, so that one way of writing serves all later ones.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cal_ratio_trainer.errors import UserError

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto, ValueInfoProto

OLDEST_OPSET = 11
"""Version that ONNX runtimes have read since 2019."""
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
        """Adds an input of float32 [jets, *shape], where a name stands for a free dimension; returns its name."""
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
