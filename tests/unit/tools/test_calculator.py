"""The calculator: what it computes, and what it refuses."""

from __future__ import annotations

import pytest

from responsa_server.domain.tools import Declaration, ToolCall, ToolFault, ToolOutcome, ToolResult
from responsa_server.tools.calculator import KIND, computed
from responsa_server.tools.kinds import ToolOptions, ToolParts
from tests.unit.agents.evidence import WHO

DECLARED = Declaration("calculator", "calculator", "the calculator", "Computes.", ToolOptions())


async def calculated(expression: str) -> ToolResult:
    (tool,) = KIND.make(DECLARED, DECLARED.options, ToolParts())
    return await tool.call(ToolCall("k", {"expression": expression}, WHO))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.1 + 0.2", "0.3"),
        ("19.99 * 3 + 4.5", "64.47"),
        ("12345678901234567890.123456789 + 1", "12345678901234567891.123456789"),
        ("(2 + 3) × 4 ÷ 8", "2.5"),
        ("2 ^ 10 − 24", "1000"),
        ("sum(1, 2, 3) - max(4, 5) + min(1)", "2"),
        ("abs(-1_000)", "1000"),
        ("-" * 400 + "1", "1"),
    ],
)
async def test_a_result_is_exact(expression: str, value: str) -> None:
    result = await calculated(expression)
    assert (result.outcome, result.data) == (ToolOutcome.OK, {"value": value, "exact": True})
    assert result.content == f"{expression} = {value}"


async def test_a_result_that_was_rounded_says_so() -> None:
    assert (await calculated("round(2.345, 2)")).content == "round(2.345, 2) ≈ 2.35"
    result = await calculated("1 / 3")
    assert result.content == f"1 / 3 ≈ 0.{'3' * 50}"


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("10 ** 10 ** 10", "too large"),
        ("ln(0)", "infinite"),
        ("1e999999", "too large"),
        ("1 / 0", "divides by zero"),
        ("1,000 + 1", "has only numbers"),
        ("0x10", "not a decimal number"),
        ("(1).__class__", "has only numbers"),
        ("__import__('os')", "There is no function “__import__”"),
        ("[1 for x in (1,)][0]", "has only numbers"),
        ("(" * 240 + "1" + ")" * 240, "not an arithmetic expression"),
        ("x", "not a number"),
        ("1" * 501, "500"),
        ("round(1, 1e9)", "outside"),
    ],
)
async def test_what_cannot_be_computed_is_refused_with_the_reason(expression: str, says: str) -> None:
    result = await calculated(expression)
    assert (result.outcome, result.error) == (ToolOutcome.ERROR, ToolFault.ARGUMENTS)
    assert says in result.content


def test_long_powers_are_computed_at_once() -> None:
    assert computed("1.0000001 ** 1000000000")[1] is False
