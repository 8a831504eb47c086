"""The parameters of an agent's questions: their schema, the records that a caller may choose from, and the check of a question's values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import jsonschema_rs

from responsa_server.agents.config.check.tables import no_retrieval
from responsa_server.agents.config.problems import TYPE_NAMES, closest, quoted
from responsa_server.agents.engine.config import RESOURCE, TEACHERS, ParametersTable
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


def schema_of(parameters: ParametersTable) -> dict[str, Any]:
    """The JSON Schema of one flat object without additional properties."""
    found: dict[str, Any] = {
        "type": "object",
        "properties": {name: dict(one) for name, one in parameters.properties.items()},
        "additionalProperties": False,
    }
    if parameters.required:
        found["required"] = list(parameters.required)
    return found


async def with_choices(
    who: Principal, schema: Mapping[str, object], teachers: Teachers | None
) -> Mapping[str, object]:
    """The schema with the records that the caller may choose from: a `oneOf` whose entries have `const` and `title`.

    Raises Unavailable.
    """
    properties = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
    wanted = [name for name, one in properties.items() if one.get(RESOURCE) == TEACHERS]
    if not wanted or teachers is None:
        return schema
    page = await teachers.list(who, ListQuery(MOST_CHOICES, Order("display_name")))
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
        self._schema = schema_of(parameters)
        self._teachers = teachers
        self._validator: jsonschema_rs.Draft202012Validator | None = None
        self._resources = [
            name for name, one in parameters.properties.items() if one.get(RESOURCE) == TEACHERS
        ]

    async def admit(self, who: Principal, question: Question) -> None:
        """Check a question's parameters.

        Raises InvalidRequest (PARAMETERS_INVALID, TEACHER_ID_MALFORMED), NotFound (TEACHER_NOT_FOUND), Unavailable.
        """
        given: Mapping[str, object] = json.loads(question.parameters) if question.parameters else {}
        if violations := list(self._violations(given)):
            shown = violations[:_MOST_VIOLATIONS]
            raise InvalidRequest(
                Reason.PARAMETERS_INVALID,
                "; ".join(f"{one.field}: {one.description}" for one in shown[:3]),
                {"agent": names.agent(self._agent), "violations": str(len(violations))},
                tuple(shown),
            )
        for name in self._resources:
            if name in given and self._teachers is not None:
                await self._teachers.get(who, teacher_id(given[name], name))

    def _violations(self, given: Mapping[str, object]) -> Iterator[FieldViolation]:
        for name in sorted(set(given) - set(self._properties)):
            hint, has = closest(name, self._properties), quoted(sorted(self._properties)) or "none"
            remedy = f"did you mean “{hint}”?" if hint else f"it has {has}"
            message = f"the agent has no such parameter; {remedy}"
            yield FieldViolation(f"{_PATH}.{name[:_MOST_SHOWN]}", "parameters.unknown", message)
        for name in self._required:
            if name not in given:
                message = f"is missing; give {_wanted(self._properties[name])}"
                yield FieldViolation(f"{_PATH}.{name}", "parameters.required", message)
        known = {name: value for name, value in given.items() if name in self._properties}
        reported = set[str]()
        if self._validator is None:  # made only for the first question, because many agents may load at once
            self._validator = jsonschema_rs.Draft202012Validator(
                self._schema, validate_formats=True, retriever=no_retrieval
            )
        for error in self._validator.iter_errors(known):
            # The error about a missing parameter has no path. The loop above has already reported such errors.
            if error.instance_path and (name := str(error.instance_path[0])) not in reported:
                reported.add(name)
                message = f"is not valid; give {_wanted(self._properties[name])}"
                yield FieldViolation(f"{_PATH}.{name}", f"parameters.{error.kind.name}", message)


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


def _wanted(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(one, ensure_ascii=False) for one in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if schema.get(RESOURCE) == TEACHERS:
        return "a teacher's id (GetAgent lists the ids that you may give)"
    bounds = [text.format(schema[name]) for name, text in _BOUNDS.items() if name in schema]
    return " ".join([TYPE_NAMES.get(schema.get("type"), "a value"), ", ".join(bounds)]).strip()
