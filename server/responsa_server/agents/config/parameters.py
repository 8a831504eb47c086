"""The parameters of an agent's questions: their schema, the records that a caller may choose from, and the check of a question's values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from responsa_server.agents.config.problems import closest, quote
from responsa_server.agents.engine.config import RESOURCE, TEACHERS, ParametersTable
from responsa_server.agents.engine.schemas import CheckedSchema
from responsa_server.agents.nodes.teacher import teacher_id
from responsa_server.domain import names
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.people import Principal
from responsa_server.domain.teachers import Teachers
from responsa_server.domain.turns import Question

MOST_CHOICES: Final = 200
"""The maximum number of records that a schema lists. A caller can also give the id of a record that is not listed."""
_PATH: Final = "options.parameters"
_MOST_VIOLATIONS: Final = 16
_MOST_SHOWN: Final = 64
_TYPE_NAMES: Final[Mapping[object, str]] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "an array",
    "object": "a table",
}
"""The words for JSON Schema's types in messages."""


def schema_of(parameters: ParametersTable) -> dict[str, Any]:
    """The JSON Schema of one flat object without additional properties."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: dict(table) for name, table in parameters.properties.items()},
        "additionalProperties": False,
    }
    if parameters.required:
        schema["required"] = list(parameters.required)
    return schema


async def with_choices(
    caller: Principal, schema: Mapping[str, object], teachers: Teachers | None
) -> Mapping[str, object]:
    """The schema with the records that the caller may choose from: a `oneOf` whose entries have `const` and `title`.

    Raises Unavailable.
    """
    properties = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
    wanted = [name for name, table in properties.items() if table.get(RESOURCE) == TEACHERS]
    if not wanted or teachers is None:
        return schema
    page = await teachers.list(caller, ListQuery(MOST_CHOICES, Order("display_name")))
    if not page.items:  # an empty oneOf is not a valid schema
        return schema
    choices = [{"const": str(item.id), "title": item.display_name} for item in page.items]
    chosen = {name: {**properties[name], "oneOf": choices} for name in wanted}
    return {**schema, "properties": {**properties, **chosen}}


class ParameterCheck:
    """Checks the parameters of questions to one agent. teachers: looks up the teachers that parameters
    name; None if the server has no teachers.
    """

    def __init__(self, agent: str, parameters: ParametersTable, teachers: Teachers | None = None) -> None:
        self._agent = agent
        self._properties = parameters.properties
        self._required: Sequence[str] = parameters.required
        self._teachers = teachers
        self._checked = dict[str, CheckedSchema]()
        self._resources = [
            name for name, table in parameters.properties.items() if table.get(RESOURCE) == TEACHERS
        ]

    async def admit(self, caller: Principal, question: Question) -> None:
        """Check a question's parameters.

        Raises InvalidRequest (PARAMETERS_INVALID, TEACHER_ID_MALFORMED), NotFound (TEACHER_NOT_FOUND), Unavailable.
        """
        parameters: Mapping[str, object] = json.loads(question.parameters) if question.parameters else {}
        if violations := list(self._violations(parameters)):
            shown = violations[:_MOST_VIOLATIONS]
            raise InvalidRequest(
                Reason.PARAMETERS_INVALID,
                "; ".join(f"{violation.field}: {violation.description}" for violation in shown[:3]),
                {"agent": names.agent(self._agent), "violations": str(len(violations))},
                tuple(shown),
            )
        for name in self._resources:
            if name in parameters and self._teachers is not None:
                await self._teachers.get(caller, teacher_id(parameters[name], name))

    def _violations(self, parameters: Mapping[str, object]) -> Iterator[FieldViolation]:
        for name in sorted(set(parameters) - set(self._properties)):
            hint, has = closest(name, self._properties), quote(sorted(self._properties)) or "none"
            remedy = f"did you mean “{hint}”?" if hint else f"it has {has}"
            message = f"the agent has no such parameter; {remedy}"
            yield FieldViolation(f"{_PATH}.{name[:_MOST_SHOWN]}", "parameters.unknown", message)
        for name in self._required:
            if name not in parameters:
                message = f"is missing; give {_describe(self._properties[name])}"
                yield FieldViolation(f"{_PATH}.{name}", "parameters.required", message)
        for name, schema in self._properties.items():
            if name not in parameters:
                continue
            # Made only for the first question, because many agents may load at once.
            if name not in self._checked:
                self._checked[name] = CheckedSchema(schema)
            if (mismatch := self._checked[name].error(parameters[name])) is not None:
                message = f"is not valid; give {_describe(schema)}"
                yield FieldViolation(f"{_PATH}.{name}", f"parameters.{mismatch.kind.name}", message)


_BOUNDS: Final[Mapping[str, str]] = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "format": "in the format {}",
    "pattern": "that matches {}",
}


def _describe(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if schema.get(RESOURCE) == TEACHERS:
        return "a teacher's id (GetAgent lists the ids that you may give)"
    bounds = [text.format(schema[name]) for name, text in _BOUNDS.items() if name in schema]
    return " ".join([_TYPE_NAMES.get(schema.get("type"), "a value"), ", ".join(bounds)]).strip()
