"""Scores by onnxruntime for the bytes of an ONNX file."""

from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime


def run(content: bytes, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """Output of the file for inputs in the file's order."""
    return session_of(content)(inputs)


def session_of(content: bytes) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """A function that gives the output of the file for inputs in the file's order."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def scores(inputs: Sequence[np.ndarray]) -> np.ndarray:
        (output,) = session.run(None, dict(zip(names, inputs, strict=True)))
        result: np.ndarray = output
        return result

    return scores
