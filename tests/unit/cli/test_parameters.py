"""Parameters on the command line are read with the types of the agent's schema."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from responsa.chat.v1 import agent_pb2
from responsa_client.errors import InvalidRequest
from responsa_server.cli.output import CommandFailed
from responsa_server.cli.parameters import describe, hint, parameters, parse_typed, parse_untyped
from responsa_server.cli.turns import micros
from tests.clients.agents_served import ASHDOWN, NOWHERE, struct, tutor


def agent(**properties: Any) -> agent_pb2.Agent:
    return agent_pb2.Agent(name="agents/x", parameters_schema=struct({"properties": properties}))


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "12", "12"),
        ({"type": "string"}, "a=b", "a=b"),
        ({"type": "string"}, "", ""),
        ({"type": "integer"}, "12", 12),
        ({"type": "integer"}, "-12.0", -12),
        ({"type": "number"}, "12", 12),
        ({"type": "number"}, "1.5e3", 1500),
        ({"type": "boolean"}, "false", False),
        ({"type": "null"}, "null", None),
        ({"type": "array"}, '[1, "x"]', [1, "x"]),
        ({"type": "object"}, '{"a": {}}', {"a": {}}),
        ({"type": ["integer", "string"]}, "12", 12),
        ({"type": ["string", "integer"]}, "12 pages", "12 pages"),
        ({"enum": ["a", 3, True, None]}, "3", 3),
        ({"enum": ["a", 3, True, None]}, "true", True),
        ({"enum": ["a", 3, True, None]}, "null", None),
        ({"enum": ["a", "b"]}, "c", "c"),
        ({"const": 7}, "7", 7),
        ({"oneOf": [{"const": "u1", "title": "Ms Ray"}]}, "MS RAY", "u1"),
        ({"oneOf": [{"const": "u1", "title": "Ray"}, {"const": "u2", "title": "Ray"}]}, "Ray", "Ray"),
        ({}, "12", 12),
        ({}, "twelve", "twelve"),
        ({}, "NaN", "NaN"),
    ],
)
def test_a_value_is_what_the_schema_says(schema: dict[str, Any], text: str, value: Any) -> None:
    found = parse_typed([f"x={text}"], agent(x=schema))
    assert found == {"x": value}
    assert type(found["x"]) in (type(value), float if isinstance(value, int) else type(value))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["levle=beginner"], "agents/tutor has no parameter 'levle'."),
        (["level"], "'level' does not have the form name=value."),
        (["=x"], "'=x' does not have the form name=value."),
        (["level=beginner", "level=advanced"], "--param level is given twice."),
        (["length=many"], "length takes integer, not 'many'."),
        (["length=1.5"], "length takes integer"),
        (["length=true"], "length takes integer"),
        (["polite=1"], "polite takes boolean"),
        (["seeds={}"], "seeds takes array"),
        (["seeds=[" * 5000], "seeds takes array"),
        (["level=\udcff"], "--param is not valid UTF-8."),
    ],
)
def test_what_cannot_be_right_is_told(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        parse_typed(arguments, tutor())
    assert message in caught.value.sentence
    assert caught.value.exit_code == 2


def test_a_name_that_is_nearly_right_is_told_with_what_was_meant() -> None:
    with pytest.raises(CommandFailed) as caught:
        parse_typed(["teacher=x"], tutor())
    assert caught.value.remedy.endswith("Did you mean teacher_id?")
    with pytest.raises(CommandFailed) as caught:
        parse_typed(["x=1"], agent_pb2.Agent(name="agents/default"))
    assert caught.value.remedy == "It has no parameters."


@pytest.mark.parametrize(
    ("teacher", "teachers", "said"),
    [
        ("ms ashdwn", [(ASHDOWN, "Ms Ashdown"), (NOWHERE, "Mr Brook")], "none has the name “ms ashdwn”. Did you mean “Ms Ashdown”?"),
        ("Zoe", [(ASHDOWN, "Ms Ashdown")], "none has the name “Zoe”."),
        ("ray", [(ASHDOWN, "Ray"), (NOWHERE, "ray")], "Several teachers have the name “ray”; give the id of one of them."),
    ],
)  # fmt: skip
def test_a_teacher_whose_name_is_nearly_right_is_told(
    teacher: str, teachers: list[tuple[str, str]], said: str
) -> None:
    error = InvalidRequest(
        grpc.StatusCode.INVALID_ARGUMENT,
        "No UUID.",
        reason="TEACHER_ID_MALFORMED",
        metadata={"teacher_id": teacher},
    )
    first, second, *_ = hint(tutor(teachers), error).splitlines()
    assert first.endswith(said)
    assert second.startswith("  --param teacher_id=…")


def test_without_a_schema_what_reads_as_json_is_that() -> None:
    assert parse_untyped(["a=1", "b=one", 'c={"d": []}', "e="]) == {
        "a": 1,
        "b": "one",
        "c": {"d": []},
        "e": "",
    }
    with pytest.raises(CommandFailed):
        parse_untyped(["a=1", "a=2"])


def test_many_records_are_not_all_listed() -> None:
    many = [(f"00000000-0000-4000-8000-{number:012}", f"T{number}") for number in range(25)]
    (found,) = [parameter for parameter in parameters(tutor(many)) if parameter.resource]
    lines = list(describe(found))
    assert lines[1] == f"      {NOWHERE}  T0"
    assert lines[-1] == "      and 5 more"
    assert len(lines) == 22
    assert ASHDOWN not in "".join(lines)


@pytest.mark.parametrize(("text", "value"), [("", None), ("0.05", 50_000), ("1", 1_000_000), ("1e-6", 1), ("2.50", 2_500_000)])  # fmt: skip
def test_money_is_millionths_of_a_dollar(text: str, value: int | None) -> None:
    assert micros(text) == value


@pytest.mark.parametrize("text", ["cheap", "0", "-1", "nan", "inf", "1e-7", "0.0000015", "1e20", "$1"])
def test_what_is_no_money_is_refused(text: str) -> None:
    with pytest.raises(CommandFailed, match="not an amount of money"):
        micros(text)
