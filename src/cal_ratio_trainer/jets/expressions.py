"""Conditions on scalar columns as a user writes them, e.g. 'eventNumber % 2 == 1 and jet_pt > 60'.

They are written as in pandas' query: comparisons (also chained), in [..], and/or/not, & | ~, arithmetic, numbers,
column names (in `backticks` where they are no plain words), abs() and delta_phi(,). Python's parser reads them, and
only the listed operations are computed; no code is executed.
"""

import ast
import io
import operator
import re
import tokenize
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.errors import UserError, did_you_mean

MAX_CHARACTERS = 2000
MAX_PARTS = 500
MAX_DEPTH = 50

_QUOTED = re.compile(r"`([^`]*)`")
_STAND_IN = "_quoted_{}_"

Array = NDArray[Any]


def _over(left: Array, right: Array, operation: Callable[[Any, Any], Any]) -> Array:
    """Division as in pandas: by zero it gives infinity or NaN, also for whole numbers."""
    if np.any(right == 0):
        left = np.asarray(left, dtype=np.float64)
    result: Array = operation(left, right)
    return result


def _delta_phi(first: Any, second: Any) -> Any:
    """Distance of two angles [rad], 0 to pi."""
    return np.abs(np.remainder(np.subtract(first, second, dtype=np.float64) + np.pi, 2 * np.pi) - np.pi)


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda left, right: _over(left, right, operator.floordiv),
    ast.Mod: lambda left, right: _over(left, right, operator.mod),
    ast.Pow: lambda left, right: np.power(np.asarray(left, dtype=np.float64), right),
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ADMITTED: tuple[type[ast.AST], ...] = (
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.Invert, ast.USub, ast.UAdd, ast.BinOp, ast.Compare),
    *(ast.In, ast.NotIn, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple, ast.Call),
    *_BINARY,
    *_COMPARISONS,
)
_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {"abs": (1, np.abs), "delta_phi": (2, _delta_phi)}
"""Number of arguments of each function, and its computation."""


class ExpressionError(UserError):
    """A condition cannot be understood or computed; names the condition, and what in it is wrong."""

    def __init__(self, text: str, reason: str) -> None:
        self.text, self.reason = text, reason
        super().__init__(f"condition '{text if len(text) <= 200 else text[:200] + '...'}': {reason}")


@dataclass(frozen=True)
class Condition:
    """A parsed condition; made by `parse_condition`.

    Attributes:
        text: text of the user.
        columns: names of the columns that it needs.
    """

    text: str
    columns: frozenset[str]
    _tree: ast.expr

    def check(self, known: Collection[str]) -> None:
        """Checks that all columns exist.

        Raises:
            ExpressionError: names the columns that do not, each with the nearest that does.
        """
        unknown = [f"{name}{did_you_mean(name, known)}" for name in sorted(self.columns - set(known))]
        if unknown:
            raise ExpressionError(self.text, f"there is no column {', '.join(unknown)}")

    def holds(self, columns: Mapping[str, Array]) -> NDArray[np.bool_]:
        """True for each row that fulfils the condition, [rows]; a comparison with NaN is false, except !=.

        Args:
            columns: at least `self.columns`, each [rows] of numbers.

        Raises:
            ExpressionError: a column is missing or holds no numbers, or the parts do not fit together.
        """
        self.check(columns)
        rows = len(next(iter(columns.values()))) if columns else 0
        numbers = {}
        for name in self.columns:
            values = columns[name]
            if values.dtype.kind not in "biuf":
                raise ExpressionError(self.text, f"column {name} holds no numbers")
            # Differences and products of short or unsigned numbers would wrap around.
            fits = values.dtype.kind == "i" or (values.dtype.kind == "u" and np.all(values <= np.iinfo(np.int64).max))
            numbers[name] = values.astype(np.int64) if fits else values
        with np.errstate(all="ignore"):
            result = self._value(self._tree, numbers)
        if np.asarray(result).dtype != np.bool_:
            raise ExpressionError(self.text, "is a number where a comparison was expected")
        return np.broadcast_to(result, (rows,)).copy()

    def _value(self, node: ast.expr, columns: Mapping[str, Array]) -> Any:
        match node:
            case ast.Name(id=name):
                return columns[name]
            case ast.Constant(value=value):
                return _constant(value)
            case ast.BoolOp(op=word, values=parts):
                join = np.logical_and if isinstance(word, ast.And) else np.logical_or
                return join.reduce(np.broadcast_arrays(*(self._truth(part, columns) for part in parts)))
            case ast.UnaryOp(op=ast.Not() | ast.Invert(), operand=part):
                return ~self._truth(part, columns)
            case ast.UnaryOp(op=sign, operand=part):
                return -self._number(part, columns) if isinstance(sign, ast.USub) else self._number(part, columns)
            case ast.BinOp(left=left, op=sign, right=right):
                return _BINARY[type(sign)](self._number(left, columns), self._number(right, columns))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return _FUNCTIONS[name][1](*(self._number(argument, columns) for argument in arguments))
            case ast.Compare(left=left, ops=signs, comparators=others):
                pairs = zip([left, *others[:-1]], signs, others, strict=True)
                found = [self._comparison(first, sign, second, columns) for first, sign, second in pairs]
                return np.logical_and.reduce(np.broadcast_arrays(*found))
        raise ExpressionError(self.text, f"{_shown(node)} can only follow 'in'")

    def _comparison(self, left: ast.expr, sign: ast.cmpop, right: ast.expr, columns: Mapping[str, Array]) -> Any:
        if isinstance(sign, ast.In | ast.NotIn) or isinstance(right, ast.List | ast.Tuple):
            if not isinstance(right, ast.List | ast.Tuple) or isinstance(sign, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                raise ExpressionError(self.text, "'in' needs a list of numbers, as in 'label in [0, 2]'")
            known = [self._number(item, columns) for item in right.elts]
            values = self._value(left, columns)
            found = np.isin(values, known) if known else np.zeros(np.shape(values), dtype=bool)
            return ~found if isinstance(sign, ast.NotIn | ast.NotEq) else found
        return _COMPARISONS[type(sign)](self._value(left, columns), self._value(right, columns))

    def _truth(self, node: ast.expr, columns: Mapping[str, Array]) -> Array:
        value = np.asarray(self._value(node, columns))
        if value.dtype != np.bool_:
            raise ExpressionError(self.text, f"{_shown(node)} is a number where a comparison was expected")
        return value

    def _number(self, node: ast.expr, columns: Mapping[str, Array]) -> Any:
        value = self._value(node, columns)
        return value.astype(np.int64) if np.asarray(value).dtype == np.bool_ else value


def parse_condition(text: str, positions: bool = False) -> Condition:
    """Reads a condition without computing it.

    Args:
        text: text of the user.
        positions: admit `name[0]`, a number of a list; it needs a column of that name, brackets included.

    Raises:
        ExpressionError: it is no condition of the kind that this module knows, or too long.
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(text, f"is longer than {MAX_CHARACTERS} characters")
    quoted: list[str] = []

    def stand_in(found: re.Match[str]) -> str:
        quoted.append(found[1])
        return _STAND_IN.format(len(quoted) - 1)

    words = _QUOTED.sub(stand_in, text.strip())
    try:
        tree = ast.parse(_with_words_for_signs(words), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise ExpressionError(text, f"cannot be read ({getattr(error, 'msg', error)})") from error
    level: list[ast.AST] = [tree]
    depth = 0
    while level and depth <= MAX_DEPTH:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    if len(list(ast.walk(tree))) > MAX_PARTS or depth > MAX_DEPTH:
        raise ExpressionError(text, "is nested too deeply or has too many parts")
    tree = _Names(text, quoted, positions).visit(tree)
    nodes = list(ast.walk(tree))
    for node in nodes:
        _refuse_foreign(text, node)
    functions = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    names = {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in functions}
    return Condition(text, frozenset(names), tree)


class _Names(ast.NodeTransformer):
    """Gives names in backticks back, and makes a name of `name[0]`."""

    def __init__(self, text: str, quoted: list[str], positions: bool) -> None:
        self._text = text
        self._names = {_STAND_IN.format(number): name for number, name in enumerate(quoted)}
        self._positions = positions

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """A column, by the name that the user wrote."""
        return ast.Name(self._names.get(node.id, node.id), node.ctx)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """A number of a list."""
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=int(position))) if self._positions:
                return ast.Name(f"{self._names.get(name, name)}[{position}]", ast.Load())
        if self._positions:
            raise ExpressionError(self._text, f"{_shown(node)} is not allowed here; name[0] is, where [0] is the first")
        return node


def _with_words_for_signs(text: str) -> str:
    """'a > 1 & b < 2' with 'and' for '&': in pandas these bind as loosely as the words."""
    words = {"&": "and", "|": "or"}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    replaced = [
        (tokenize.NAME, words[token.string]) if token.string in words else (token.type, token.string)
        for token in tokens
        if token.type not in (tokenize.COMMENT, tokenize.NEWLINE, tokenize.NL)
    ]
    return tokenize.untokenize(replaced)


def _refuse_foreign(text: str, node: ast.AST) -> None:
    if not isinstance(node, _ADMITTED):
        raise ExpressionError(text, f"{_shown(node)} is not allowed here; comparisons, and/or/not and arithmetic are")
    if isinstance(node, ast.Constant) and (type(node.value) not in (int, float, bool)):
        raise ExpressionError(text, f"{node.value!r:.40} is no number")
    if isinstance(node, ast.Call):
        arguments = (
            _FUNCTIONS[node.func.id][0] if isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS else -1
        )
        if len(node.args) != arguments or node.keywords:
            raise ExpressionError(text, f"{_shown(node)} is not allowed here; functions are abs(x), delta_phi(x, y)")


def _shown(node: ast.AST) -> str:
    if isinstance(node, ast.expr):
        return f"'{ast.unparse(node)[:60]}'"
    return type(node).__name__


def _constant(value: Any) -> Any:
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int) and value <= np.iinfo(np.int64).max:
        return np.int64(value)
    try:
        return np.float64(value)
    except OverflowError:
        return np.float64(np.inf)
