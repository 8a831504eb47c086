"""Loads the teacher that the question names."""

from __future__ import annotations

import re
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field, JsonValue

from responsa_server.agents.engine.kinds import NodeKind, require
from responsa_server.agents.engine.node import Node, NodeModel, NodeOptions, Policy, Run
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason
from responsa_server.domain.rows import Row
from responsa_server.domain.teachers import Teachers

TEACHER_ID: Final = "teacher_id"
_MOST_SHOWN: Final = 64
_NAMED: Final = re.compile(r"(?:teachers/)?([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})")


class TeacherOptions(NodeOptions):
    """parameter: the parameter that names the teacher."""

    parameter: Annotated[str, Field(min_length=1, max_length=100)] = TEACHER_ID


class TeacherInput(NodeModel):
    """The question's parameters."""

    parameters: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


class TeacherOutput(NodeModel):
    """teacher: the display name. persona: a description of how the teacher speaks. Without a teacher, both are ""."""

    teacher: str
    persona: str


class ChooseTeacher(Node[TeacherInput, TeacherOutput]):
    """Reads the teacher's current record. If the teacher was deleted after the question was accepted, the turn fails."""

    input_model = TeacherInput
    output_model = TeacherOutput
    policy = Policy(timeout_seconds=10.0, attempts=3, pause_seconds=0.1)

    def __init__(self, teachers: Teachers, name: str, options: TeacherOptions) -> None:
        self.name = name
        self._teachers = teachers
        self._parameter = options.parameter

    async def process(self, inputs: TeacherInput, run: Run) -> TeacherOutput:
        """Load the teacher. Raises NotFound (TEACHER_NOT_FOUND), InvalidRequest (TEACHER_ID_MALFORMED), Unavailable."""
        chosen = inputs.parameters.get(self._parameter, "")
        if chosen in ("", None):
            return TeacherOutput(teacher="", persona="")
        teacher = await self._teachers.get(run.caller, teacher_id(chosen, self._parameter))
        return TeacherOutput(teacher=teacher.display_name, persona=persona(teacher))


def teacher_id(value: object, parameter: str = TEACHER_ID) -> UUID:
    """The teacher's id in a parameter: a UUID or `teachers/{uuid}`. Raises InvalidRequest (TEACHER_ID_MALFORMED)."""
    match = _NAMED.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        path, remedy = (
            f"options.parameters.{parameter}",
            "must be a teacher's UUID, bare or as teachers/{uuid}",
        )
        raise InvalidRequest(
            Reason.TEACHER_ID_MALFORMED,
            f"{path}: {remedy}",
            {"teacher_id": str(value)[:_MOST_SHOWN]},
            (FieldViolation(path, "teacher_id", remedy),),
        )
    return UUID(match[1])


def persona(teacher: Row) -> str:
    """The description of a teacher for a prompt: the persona and the record's parameters."""
    lines = [
        f"{name}: {value}"
        for name, value in sorted(teacher.parameters.items())
        if isinstance(value, str | int | float)
    ]
    return "\n".join([teacher.persona.strip(), *lines])


KIND: Final = NodeKind(
    lambda parts, options, name: ChooseTeacher(require(parts.teachers, "teachers"), name, options),
    TeacherInput,
    TeacherOutput,
    TeacherOptions,
)
