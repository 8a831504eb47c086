"""The parameters of questions: valid values, invalid values and their reasons, and the lookup of teachers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from responsa_server.agents.config.parameters import ParameterCheck, schema_of, with_choices
from responsa_server.agents.engine.config import ParametersTable
from responsa_server.domain.errors import InvalidRequest, Reason
from responsa_server.domain.turns import Question
from tests.unit.agents.evidence import WHO
from tests.unit.agents.shipping import ASHDOWN, Staff

PARAMETERS = ParametersTable.model_validate(
    {
        "required": ["teacher_id"],
        "properties": {
            "teacher_id": {"type": "string", "x-resource": "teachers"},
            "level": {"enum": ["low", "high"], "default": "low"},
            "age": {"type": "integer", "minimum": 6, "maximum": 99},
            "born": {"type": "string", "format": "date"},
        },
    }
)


async def admit(parameters: Mapping[str, object] | None = None, table: ParametersTable = PARAMETERS) -> None:
    text = "" if parameters is None else json.dumps(parameters)
    await ParameterCheck("tutor", table, Staff()).admit(WHO, Question("What?", parameters=text))


@pytest.mark.parametrize("level", [{}, {"level": "high"}, {"age": 6}, {"age": 12.0}, {"born": "2010-02-28"}])
@pytest.mark.parametrize("name", [str(ASHDOWN), f"teachers/{ASHDOWN}", str(ASHDOWN).upper()])
async def test_what_fits_is_taken(name: str, level: Mapping[str, object]) -> None:
    await admit({"teacher_id": name, **level})


@pytest.mark.parametrize(
    ("parameters", "problems"),
    [
        (None, {"teacher_id": "is missing; give a teacher's id (GetAgent lists the ids that you may give)"}),
        (
            {"teacher_id": 3},
            {"teacher_id": "is not valid; give a teacher's id (GetAgent lists the ids that you may give)"},
        ),
        ({"level": "middle"}, {"level": 'is not valid; give one of "low", "high"'}),
        ({"age": 5}, {"age": "is not valid; give a whole number at least 6, at most 99"}),
        ({"age": 6.5}, {"age": "is not valid; give a whole number at least 6, at most 99"}),
        ({"born": "2010-02-30"}, {"born": "is not valid; give a text in the format date"}),
        ({"levle": "low"}, {"levle": "the agent has no such parameter; did you mean “level”?"}),
        (
            {"x": 1},
            {"x": "the agent has no such parameter; it has “age”, “born”, “level”, “teacher_id”"},
        ),
    ],
    ids=lambda one: "" if one is None else str(list(one)),
)
async def test_what_does_not_fit_is_told_by_its_path_with_a_remedy(
    parameters: Mapping[str, object] | None, problems: Mapping[str, str]
) -> None:
    whole = (
        parameters
        if parameters is None or "teacher_id" in parameters
        else {"teacher_id": str(ASHDOWN), **parameters}
    )
    with pytest.raises(InvalidRequest) as error:
        await admit(whole)
    assert error.value.reason is Reason.PARAMETERS_INVALID
    assert error.value.metadata == {"agent": "agents/tutor", "violations": "1"}
    found = {violation.field: violation.description for violation in error.value.violations}
    assert found == {f"options.parameters.{name}": text for name, text in problems.items()}


async def test_all_that_does_not_fit_is_told_at_once_and_not_without_end() -> None:
    with pytest.raises(InvalidRequest) as error:
        await admit({"age": 1, "level": "x", **{f"p{number}": 1 for number in range(40)}})
    assert error.value.metadata["violations"] == "43"
    assert len(error.value.violations) == 16


async def test_a_schema_shows_whom_one_may_choose() -> None:
    schema = schema_of(PARAMETERS)
    shown: Any = await with_choices(WHO, schema, Staff())
    assert shown["properties"]["teacher_id"]["oneOf"] == [{"const": str(ASHDOWN), "title": "Ms Ashdown"}]
    assert shown["properties"]["level"] == {"enum": ["low", "high"], "default": "low"}
    assert "oneOf" not in schema["properties"]["teacher_id"], "the agent's own schema stays as it is"
    assert await with_choices(WHO, schema, Staff({})) == schema
    assert await with_choices(WHO, schema, None) == schema
