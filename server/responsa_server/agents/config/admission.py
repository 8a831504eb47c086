"""What an agent wants of a question before it is accepted: parameters that fit its schema and name what is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import jsonschema_rs

from responsa_server.agents.config.check import meant
from responsa_server.agents.config.check.problems import listed
from responsa_server.agents.engine.config import RESOURCE, TEACHERS, ParametersTable
from responsa_server.agents.nodes.teacher import teacher_id
from responsa_server.domain import names
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason
from responsa_server.domain.people import Principal
from responsa_server.domain.ports.teachers import Teachers
from responsa_server.domain.turns import Question

_PATH: Final = "options.parameters"
_MOST: Final = 16
_MOST_SHOWN: Final = 64


def schema_of(parameters: ParametersTable) -> dict[str, Any]:
    """The schema of one flat object, in which nothing else is allowed."""
    found: dict[str, Any] = {
        "type": "object",
        "properties": {name: dict(one) for name, one in parameters.properties.items()},
        "additionalProperties": False,
    }
    if parameters.required:
        found["required"] = list(parameters.required)
    return found


class Admission:
    """Checks the parameters of questions to one agent. teachers: None where none are kept, and none is looked up."""

    def __init__(self, agent: str, parameters: ParametersTable, teachers: Teachers | None = None) -> None:
        self._agent = agent
        self._properties = parameters.properties
        self._schema = schema_of(parameters)
        self._teachers = teachers
        self._validator: jsonschema_rs.Draft202012Validator | None = None
        self._resources = [
            name for name, one in parameters.properties.items() if one.get(RESOURCE) == TEACHERS
        ]

    async def admit(self, who: Principal, question: Question) -> None:
        """See `Agent.admit`. Raises InvalidRequest (PARAMETERS_INVALID, TEACHER_ID_MALFORMED), NotFound (TEACHER_NOT_FOUND), Unavailable."""
        given = _given(question)
        if violations := list(self._violations(given)):
            shown = violations[:_MOST]
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
            hint = meant(name, self._properties)
            remedy = (
                f"did you mean “{hint}”?" if hint else f"it has {listed(sorted(self._properties)) or 'none'}"
            )
            yield FieldViolation(
                f"{_PATH}.{name[:_MOST_SHOWN]}",
                "parameters.unknown",
                f"the agent has no such parameter; {remedy}",
            )
        for name in cast("list[str]", self._schema.get("required", ())):
            if name not in given:
                yield FieldViolation(
                    f"{_PATH}.{name}",
                    "parameters.required",
                    f"is missing; give {_wanted(self._properties[name])}",
                )
        known = {name: value for name, value in given.items() if name in self._properties}
        told = set[str]()
        for error in self._compiled().iter_errors(known):
            # What is missing has no path, and was told above.
            if error.instance_path and (name := str(error.instance_path[0])) not in told:
                told.add(name)
                yield FieldViolation(
                    f"{_PATH}.{name}",
                    f"parameters.{error.kind.name}",
                    f"does not fit; give {_wanted(self._properties[name])}",
                )

    def _compiled(self) -> jsonschema_rs.Draft202012Validator:
        if self._validator is None:  # when it is first needed: a hundred agents are loaded at a time
            self._validator = jsonschema_rs.Draft202012Validator(
                self._schema, validate_formats=True, retriever=_refused
            )
        return self._validator


def _given(question: Question) -> Mapping[str, object]:
    return cast("dict[str, object]", json.loads(question.parameters)) if question.parameters else {}


_BOUNDS: Final[Mapping[str, str]] = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "format": "of the format {}",
    "pattern": "that fits {}",
}
_KINDS: Final[Mapping[object, str]] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def _wanted(schema: Mapping[str, Any]) -> str:
    """What a property may be, in words."""
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(one, ensure_ascii=False) for one in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if schema.get(RESOURCE) == TEACHERS:
        return "a teacher's id (GetAgent lists those that may be chosen)"
    bounds = [text.format(schema[name]) for name, text in _BOUNDS.items() if name in schema]
    return " ".join([_KINDS.get(schema.get("type"), "a value"), ", ".join(bounds)]).strip()


def _refused(address: str) -> Any:
    raise ValueError(f"{address} is not fetched")
