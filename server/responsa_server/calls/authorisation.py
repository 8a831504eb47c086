"""Which callers may call each method. The code that looks up a resource decides whether the caller may see that resource."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from responsa.type.v1 import method_pb2
from responsa_server.calls.methods import CHAT, GET_ME, METHODS
from responsa_server.domain.programs import ASK, SEARCH


class Rule(StrEnum):
    """The callers that may make a call; see `Access` in the contract."""

    PUBLIC = "public"
    MEMBER = "member"
    OWN = "own"
    SERVICE = "service"
    ADMIN = "admin"
    OWNER = "owner"


_OPERATIONS: Final = "/google.longrunning.Operations/"


def _of_contract() -> Mapping[str, Rule]:
    """The rules of the methods that have the option `access`."""
    chosen = {name: method.GetOptions().Extensions[method_pb2.access] for name, method in METHODS.items()}
    return {
        name: Rule[method_pb2.Access.Name(access).removeprefix("ACCESS_")]
        for name, access in chosen.items()
        if access != method_pb2.ACCESS_UNSPECIFIED
    }


RULES: Final[Mapping[str, Rule]] = {
    **_of_contract(),
    # These methods are declared by others, so the contract cannot say who may call them.
    _OPERATIONS + "ListOperations": Rule.MEMBER,
    _OPERATIONS + "GetOperation": Rule.MEMBER,
    _OPERATIONS + "DeleteOperation": Rule.MEMBER,
    _OPERATIONS + "CancelOperation": Rule.MEMBER,
    _OPERATIONS + "WaitOperation": Rule.MEMBER,
    "/grpc.health.v1.Health/Check": Rule.PUBLIC,
    "/grpc.health.v1.Health/List": Rule.PUBLIC,
    "/grpc.health.v1.Health/Watch": Rule.PUBLIC,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Rule.PUBLIC,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": Rule.PUBLIC,
    **{
        f"/lf.a2a.v1.A2AService/{name}": Rule.MEMBER
        for name in (
            "SendMessage",
            "SendStreamingMessage",
            "GetTask",
            "ListTasks",
            "CancelTask",
            "SubscribeToTask",
            "CreateTaskPushNotificationConfig",
            "GetTaskPushNotificationConfig",
            "ListTaskPushNotificationConfigs",
            "DeleteTaskPushNotificationConfig",
            "GetExtendedAgentCard",
        )
    },
    # The connections and calls of all tenants.
}
"""The rule of each method. A method without one is closed to everyone."""

_KNOWLEDGE: Final = "/responsa.knowledge.v1.KnowledgeService/"
_EITHER: Final = frozenset({SEARCH, ASK})

SCOPES: Final[Mapping[str, frozenset[str]]] = {
    **{
        _KNOWLEDGE + name: frozenset({SEARCH})
        for name in (
            "Search",
            "GetDocument",
            "GetDocumentContent",
            "GetCollection",
            "ListCollections",
            "ListDocuments",
        )
    },
    **{CHAT + name: frozenset({ASK}) for name in ("Ask", "ResumeTurn", "ListTurns", "GetTurn", "CancelTurn")},
    # A program follows the tasks that it knows, and lists none of those that the person began elsewhere.
    **{
        name: frozenset({ASK})
        for name in RULES
        if name.startswith("/lf.a2a.v1.") and not name.endswith("/ListTasks")
    },
    # The method itself asks for ASK if the request names a turn, and otherwise for SEARCH.
    _KNOWLEDGE + "GetPassage": _EITHER,
    CHAT + "ListAgents": _EITHER,
    CHAT + "GetAgent": _EITHER,
    GET_ME: _EITHER,
}
"""The scopes of which a connected program needs one to call a method for its user. Other methods are closed to programs."""
