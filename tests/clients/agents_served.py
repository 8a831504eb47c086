"""Scripts that serve agents and teachers. As far as a client can observe, the scripts follow the contract."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2

from clients.conformance.server import Context, abort, status
from responsa.admin.v1 import admin_service_pb2, teacher_pb2
from responsa.chat.v1 import agent_pb2, chat_service_pb2
from tests.clients.scripted import (
    ADMIN,
    CHAT,
    Scripted,
)

ASHDOWN = "62f746b4-84e6-4ceb-95bd-447e7184d454"
NOWHERE = "00000000-0000-4000-8000-000000000000"


def struct(values: dict[str, Any]) -> struct_pb2.Struct:
    return json_format.ParseDict(values, struct_pb2.Struct())


def tutor(teachers: Sequence[tuple[str, str]] = ((ASHDOWN, "Ms Ashdown"),)) -> agent_pb2.Agent:
    """The tutor, with these teachers as choices."""
    teacher: dict[str, Any] = {"type": "string", "title": "Teacher", "x-resource": "teachers"}
    if teachers:
        teacher["oneOf"] = [{"const": identity, "title": title} for identity, title in teachers]
    schema = {
        "type": "object",
        "required": ["teacher_id"],
        "properties": {
            "teacher_id": teacher,
            "level": {"enum": ["beginner", "advanced"], "default": "beginner", "title": "Level"},
            "length": {"type": "integer", "title": "Words"},
            "polite": {"type": "boolean"},
            "seeds": {"type": "array"},
            "free": {"title": "Anything"},
        },
        "additionalProperties": False,
    }
    return agent_pb2.Agent(
        name="agents/tutor",
        display_name="Tutor",
        description="Explains, step by step.",
        version="agents/tutor/versions/3",
        parameters_schema=struct(schema),
        examples=["Why does the moon have phases?"],
        collections=["collections/tutor"],
        models=["scripted:strong"],
        history_messages=10,
        listed=True,
    )


def default() -> agent_pb2.Agent:
    return agent_pb2.Agent(
        name="agents/default",
        display_name="Responsa",
        version="agents/default/versions/2",
        file_version="agents/default/versions/1",
        history_messages=6,
        is_default=True,
        listed=True,
    )


@dataclass
class ServedAgents:
    """The agents and teachers. `admin` says whether the caller is an administrator."""

    agents: list[agent_pb2.Agent] = field(default_factory=lambda: [default(), tutor()])
    teachers: dict[str, teacher_pb2.Teacher] = field(default_factory=dict[str, teacher_pb2.Teacher])
    reloads: list[admin_service_pb2.AgentReload] = field(default_factory=list[admin_service_pb2.AgentReload])
    admin: bool = True
    deleted: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """The name and the etag of each deleted teacher."""

    def serve(self, server: Scripted) -> None:
        """Install the scripts on the server."""
        for path, script in {
            f"{CHAT}/ListAgents": self._list_agents,
            f"{CHAT}/GetAgent": self._get_agent,
            f"{ADMIN}/ReloadAgents": self._reload,
            f"{ADMIN}/CreateTeacher": self._create,
            f"{ADMIN}/GetTeacher": self._get,
            f"{ADMIN}/ListTeachers": self._list,
            f"{ADMIN}/UpdateTeacher": self._update,
            f"{ADMIN}/DeleteTeacher": self._delete,
        }.items():
            server.on(path, script)

    async def _list_agents(self, request: Any, _: Context) -> chat_service_pb2.ListAgentsResponse:
        """Return one agent per page."""
        at = int(request.page_token or 0)
        more = str(at + 1) if at + 1 < len(self.agents) else ""
        return chat_service_pb2.ListAgentsResponse(agents=self.agents[at : at + 1], next_page_token=more)

    async def _get_agent(self, request: Any, context: Context) -> agent_pb2.Agent:
        served = next((agent for agent in self.agents if agent.name == request.name), None)
        if served is None:
            known = ",".join(agent.name.removeprefix("agents/") for agent in self.agents)
            told = {"resource_type": "agent", "resource_name": request.name, "known": known}
            refusal = status(
                grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", "Agent not found.", metadata=told
            )
            await abort(context, refusal)
        return served or agent_pb2.Agent()

    async def _allowed(self, context: Context) -> None:
        if not self.admin:
            refusal = status(grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED", "This needs the role ADMIN.")
            await abort(context, refusal)

    async def _reload(self, _: Any, context: Context) -> admin_service_pb2.ReloadAgentsResponse:
        await self._allowed(context)
        return admin_service_pb2.ReloadAgentsResponse(agents=self.reloads)

    async def _create(self, request: Any, context: Context) -> teacher_pb2.Teacher:
        await self._allowed(context)
        name = f"teachers/{request.teacher_id or uuid.uuid4()}"
        if name in self.teachers:
            await abort(
                context, status(grpc.StatusCode.ALREADY_EXISTS, "RESOURCE_ALREADY_EXISTS", "It is there.")
            )
        made = teacher_pb2.Teacher()
        made.CopyFrom(request.teacher)
        made.name, made.etag = name, "1"
        self.teachers[name] = made
        return made

    async def _found(self, name: str, context: Context) -> teacher_pb2.Teacher:
        await self._allowed(context)
        if name not in self.teachers:
            await abort(
                context, status(grpc.StatusCode.NOT_FOUND, "TEACHER_NOT_FOUND", "There is no such teacher.")
            )
        return self.teachers[name]

    async def _get(self, request: Any, context: Context) -> teacher_pb2.Teacher:
        return await self._found(request.name, context)

    async def _list(self, _: Any, context: Context) -> admin_service_pb2.ListTeachersResponse:
        await self._allowed(context)
        return admin_service_pb2.ListTeachersResponse(teachers=self.teachers.values())

    async def _update(self, request: Any, context: Context) -> teacher_pb2.Teacher:
        kept = await self._found(request.teacher.name, context)
        if request.teacher.etag and request.teacher.etag != kept.etag:
            await abort(context, status(grpc.StatusCode.ABORTED, "ETAG_MISMATCH", "It has changed."))
        changed = teacher_pb2.Teacher()
        changed.CopyFrom(kept)
        for path in request.update_mask.paths:
            changed.ClearField(path)
        request.update_mask.MergeMessage(request.teacher, changed, True, True)
        changed.etag = str(int(kept.etag) + 1)
        self.teachers[kept.name] = changed
        return changed

    async def _delete(self, request: Any, context: Context) -> empty_pb2.Empty:
        del self.teachers[(await self._found(request.name, context)).name]
        self.deleted.append((request.name, request.etag))
        return empty_pb2.Empty()
