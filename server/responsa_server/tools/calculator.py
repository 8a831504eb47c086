"""The kind `calculator`: decimal arithmetic, exact wherever a result has at most 50 digits."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from decimal import (
    ROUND_CEILING,
    ROUND_FLOOR,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DecimalException,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    localcontext,
)
from typing import Final, cast

from responsa_server.domain.tools import (
    Declaration,
    Effect,
    Tool,
    ToolCall,
    ToolCard,
    ToolFault,
    ToolOutcome,
    ToolResult,
)
from responsa_server.tools.kinds import ToolKind, ToolOptions, ToolParts

MAX_CHARACTERS: Final = 500
_MAX_DEPTH: Final = 50
_DIGITS: Final = 50
_MAX_EXPONENT: Final = 1000
_PARAMETERS: Final[Mapping[str, object]] = {
    "type": "object",
    "properties": {
        "expression": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_CHARACTERS,
            "description": "E.g. 19.99 * 3 + 4.5 or round(100 / 7, 2). Operators: + - * / // % **. Functions: abs, ceil, exp, floor, ln, log10, max, min, round, sqrt, sum. Write numbers without separators of thousands, and with a point.",
        }
    },
    "required": ["expression"],
    "additionalProperties": False,
}
_RETURNS: Final[Mapping[str, object]] = {
    "type": "object",
    "properties": {"value": {"type": "string"}, "exact": {"type": "boolean"}},
    "required": ["value", "exact"],
    "additionalProperties": False,
}
_SPELLINGS: Final = str.maketrans({"×": "*", "·": "*", "÷": "/", "\u2212": "-", "\u2013": "-", "^": "**"})
_BINARY: Final[Mapping[type[ast.operator], Callable[[Decimal, Decimal], Decimal]]] = {
    ast.Add: Decimal.__add__,
    ast.Sub: Decimal.__sub__,
    ast.Mult: Decimal.__mul__,
    ast.Div: Decimal.__truediv__,
    ast.FloorDiv: Decimal.__floordiv__,
    ast.Mod: Decimal.__mod__,
    ast.Pow: Decimal.__pow__,
}
_UNARY: Final[Mapping[type[ast.unaryop], Callable[[Decimal], Decimal]]] = {
    ast.UAdd: Decimal.__pos__,
    ast.USub: Decimal.__neg__,
}


def _round(value: Decimal, places: Decimal = Decimal(0)) -> Decimal:
    if places != places.to_integral_value() or abs(places) > _DIGITS:
        raise _Wrong("round takes a whole number of places, at most 50")
    return value.quantize(Decimal(1).scaleb(-int(places)), rounding=ROUND_HALF_UP)


def _exp(value: Decimal) -> Decimal:
    return value.exp()


def _ln(value: Decimal) -> Decimal:
    return value.ln()


def _log10(value: Decimal) -> Decimal:
    return value.log10()


def _sqrt(value: Decimal) -> Decimal:
    return value.sqrt()


def _ceil(value: Decimal) -> Decimal:
    return value.to_integral_value(ROUND_CEILING)


def _floor(value: Decimal) -> Decimal:
    return value.to_integral_value(ROUND_FLOOR)


def _max(first: Decimal, *others: Decimal) -> Decimal:
    return max((first, *others))


def _min(first: Decimal, *others: Decimal) -> Decimal:
    return min((first, *others))


def _sum(*values: Decimal) -> Decimal:
    return sum(values, Decimal(0))


_FUNCTIONS: Final[Mapping[str, Callable[..., Decimal]]] = {
    "abs": Decimal.__abs__,
    "ceil": _ceil,
    "exp": _exp,
    "floor": _floor,
    "ln": _ln,
    "log10": _log10,
    "max": _max,
    "min": _min,
    "round": _round,
    "sqrt": _sqrt,
    "sum": _sum,
}


class _Wrong(Exception):
    """The expression cannot be computed. The message is a clause."""


def computed(expression: str) -> tuple[Decimal, bool]:
    """The value of an expression, and whether it is exact. Raises ValueError, whose message is for a model."""
    text = expression.translate(_SPELLINGS).strip()
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"The expression has more than {MAX_CHARACTERS} characters.")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError("This is not an arithmetic expression, such as (2 + 3) * 4.") from None
    context = Context(
        prec=_DIGITS,
        Emin=-_MAX_EXPONENT,
        Emax=_MAX_EXPONENT,
        traps=[DivisionByZero, InvalidOperation, Overflow],
    )
    with localcontext(context) as used:
        try:
            value = _value(tree.body, text.encode(), 0)
        except _Wrong as error:
            raise ValueError(f"This cannot be computed: {error}.") from None
        except DivisionByZero:
            raise ValueError("This cannot be computed: it divides by zero.") from None
        except Overflow:
            raise ValueError("This cannot be computed: the result is too large.") from None
        except (DecimalException, TypeError):
            raise ValueError("This cannot be computed: a number is outside a function's range.") from None
        return value, not used.flags[Inexact]


def _value(node: ast.expr, text: bytes, depth: int) -> Decimal:
    if depth > _MAX_DEPTH:
        raise _Wrong("it is nested too deeply")
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            # The literal's own text, because a float has lost digits.
            literal = text[node.col_offset : node.end_col_offset].decode()
            try:
                return Decimal(literal) + 0
            except InvalidOperation:
                raise _Wrong(f"“{literal[:40]}” is not a decimal number") from None
        case ast.BinOp(op=op) if type(op) in _BINARY:
            left, right = _value(node.left, text, depth + 1), _value(node.right, text, depth + 1)
            return _BINARY[type(op)](left, right)
        case ast.UnaryOp(op=op) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(node.operand, text, depth + 1))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_value(one, text, depth + 1) for one in arguments))
        case ast.Call(func=ast.Name(id=name)):
            raise _Wrong(f"there is no function “{name[:40]}”; there are {', '.join(_FUNCTIONS)}")
        case ast.Name(id=name):
            raise _Wrong(f"“{name[:40]}” is not a number")
        case _:
            raise _Wrong("it may have numbers, + - * / // % **, parentheses and functions only")


class CalculatorTool:
    """Implements `Tool`."""

    effect = Effect.NONE

    def __init__(self, declaration: Declaration) -> None:
        self.card = ToolCard(
            declaration.name, declaration.description, _PARAMETERS, declaration.title, _RETURNS
        )
        self.timeout_seconds = declaration.timeout_seconds

    async def call(self, call: ToolCall) -> ToolResult:
        """See `Tool.call`."""
        expression = cast("str", call.arguments["expression"])
        try:
            value, exact = computed(expression)
        except ValueError as error:
            return ToolResult(ToolOutcome.ERROR, str(error), error=ToolFault.ARGUMENTS)
        shown = _shown(value)
        content = f"{expression} {'=' if exact else '≈'} {shown}"
        return ToolResult(ToolOutcome.OK, content, {"value": shown, "exact": exact})

    async def close(self) -> None:
        """See `Tool.close`."""


def _shown(value: Decimal) -> str:
    """The number without an exponent if it is not long, and without zeros at the end of its fraction."""
    plain = format(value, "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    plain = "0" if plain in ("-0", "") else plain
    return plain if len(plain) <= 2 * _DIGITS else str(value.normalize())


def _make(declaration: Declaration, options: ToolOptions, parts: ToolParts) -> Sequence[Tool]:
    return [CalculatorTool(declaration)]


KIND: Final = ToolKind(
    ToolOptions,
    _make,
    title="the calculator",
    description="Computes an arithmetic expression exactly. Use it for every calculation with more than one digit.",
    shipped=True,
)
