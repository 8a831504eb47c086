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
from functools import partial
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
_DIGITS: Final = 50
# These bounds hold for each intermediate result, so no expression takes long: 10 ** 10 ** 10 overflows at once.
_BOUNDS: Final = Context(
    prec=_DIGITS, Emin=-1000, Emax=1000, traps=[DivisionByZero, InvalidOperation, Overflow]
)
_OPERATORS: Final = dict[type[ast.AST], Callable[..., Decimal]](
    {
        ast.Add: Decimal.__add__,
        ast.Sub: Decimal.__sub__,
        ast.Mult: Decimal.__mul__,
        ast.Div: Decimal.__truediv__,
        ast.FloorDiv: Decimal.__floordiv__,
        ast.Mod: Decimal.__mod__,
        ast.Pow: Decimal.__pow__,
        ast.UAdd: Decimal.__pos__,
        ast.USub: Decimal.__neg__,
    }
)


def _max(first: Decimal, *others: Decimal) -> Decimal:
    return max((first, *others))


def _min(first: Decimal, *others: Decimal) -> Decimal:
    return min((first, *others))


def _round(value: Decimal, places: Decimal = Decimal(0)) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def _sum(*values: Decimal) -> Decimal:
    return sum(values, Decimal(0))


_FUNCTIONS: Final = dict[str, Callable[..., Decimal]](
    {
        "abs": Decimal.__abs__,
        "ceil": partial(Decimal.to_integral_value, rounding=ROUND_CEILING),
        "exp": Decimal.exp,
        "floor": partial(Decimal.to_integral_value, rounding=ROUND_FLOOR),
        "ln": Decimal.ln,
        "log10": Decimal.log10,
        "max": _max,
        "min": _min,
        "round": _round,
        "sqrt": Decimal.sqrt,
        "sum": _sum,
    }
)
_SPELLINGS: Final = str.maketrans({"×": "*", "·": "*", "÷": "/", "\u2212": "-", "\u2013": "-", "^": "**"})
_PARAMETERS: Final[Mapping[str, object]] = {
    "type": "object",
    "properties": {
        "expression": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_CHARACTERS,
            "description": (
                "E.g. 19.99 * 3 + 4.5 or round(100 / 7, 2). Operators: + - * / // % **. Functions: "
                f"{', '.join(_FUNCTIONS)}. Write numbers without separators of thousands, and with a "
                "point."
            ),
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


def computed(expression: str) -> tuple[Decimal, bool]:
    """The value of an expression, and whether it is exact. Raises ValueError, whose message is for a model."""
    text = expression.translate(_SPELLINGS).strip()
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"The expression has more than {MAX_CHARACTERS} characters.")
    with localcontext(_BOUNDS) as used:
        try:
            value = _value(ast.parse(text, mode="eval").body, text.encode())
        except (SyntaxError, RecursionError, MemoryError):
            raise ValueError("This is not an arithmetic expression, such as (2 + 3) * 4.") from None
        except DivisionByZero:
            raise ValueError("This cannot be computed: it divides by zero.") from None
        except Overflow:
            raise ValueError("This cannot be computed: the result is too large.") from None
        except (DecimalException, TypeError):
            raise ValueError("This cannot be computed: a number is outside a function's range.") from None
        if not value.is_finite():
            raise ValueError("This cannot be computed: the result is infinite.")
        return value, not used.flags[Inexact]


def _value(node: ast.expr, text: bytes) -> Decimal:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            # The literal's own text, because a float has lost digits.
            literal = text[node.col_offset : node.end_col_offset].decode()
            try:
                return +Decimal(literal)
            except InvalidOperation:
                raise ValueError(f"“{literal[:40]}” is not a decimal number.") from None
        case ast.BinOp(op=op) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(node.left, text), _value(node.right, text))
        case ast.UnaryOp(op=op) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(node.operand, text))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_value(argument, text) for argument in arguments))
        case ast.Call(func=ast.Name(id=name)):
            raise ValueError(
                f"There is no function “{name[:40]}”. The functions are: {', '.join(_FUNCTIONS)}."
            )
        case ast.Name(id=name):
            raise ValueError(f"“{name[:40]}” is not a number.")
        case _:
            raise ValueError("An expression has only numbers, + - * / // % **, parentheses and functions.")


class CalculatorTool:
    """Implements `Tool`."""

    effect = Effect.NONE

    def __init__(self, declaration: Declaration) -> None:
        self.card = ToolCard(
            declaration.name, declaration.description, _PARAMETERS, declaration.title, _RETURNS
        )
        self.timeout_seconds = declaration.timeout_seconds

    async def call(self, call: ToolCall) -> ToolResult:
        expression = cast("str", call.arguments["expression"])
        try:
            value, exact = computed(expression)
        except ValueError as error:
            return ToolResult(ToolOutcome.ERROR, str(error), error=ToolFault.ARGUMENTS)
        shown = _shown(value)
        content = f"{expression} {'=' if exact else '≈'} {shown}"
        return ToolResult(ToolOutcome.OK, content, {"value": shown, "exact": exact})

    async def close(self) -> None:
        pass


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
