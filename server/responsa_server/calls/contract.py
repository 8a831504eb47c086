"""Puts all services of the contract behind one chain of interceptors. Every transport calls the services through this chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final
from uuid import UUID

import structlog
from google.protobuf.message import Message

from responsa.admin.v1 import admin_service_pb2, program_pb2, teacher_pb2
from responsa.type.v1 import method_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.chain import Calls, Method, methods_of
from responsa_server.calls.frames import AskFrames
from responsa_server.calls.interceptors.access import (
    Authorised,
    CredentialCheck,
    OwnersOnly,
    Routed,
    SessionCookie,
)
from responsa_server.calls.interceptors.audited import Audited
from responsa_server.calls.interceptors.lasting import LastingCalls
from responsa_server.calls.interceptors.limits import CallAdmission, Deadline
from responsa_server.calls.interceptors.rates import AddressLimits, CallerLimits
from responsa_server.calls.interceptors.reporting import CallId, Errors, Log, Logger
from responsa_server.calls.interceptors.traced import Traced
from responsa_server.calls.interceptors.validation import Validation
from responsa_server.calls.methods import DESCRIPTORS, METHODS
from responsa_server.calls.services.administration.agents import InstallationService
from responsa_server.calls.services.administration.insight import InsightService
from responsa_server.calls.services.administration.resource import ResourceCalls
from responsa_server.calls.services.administration.users import GroupService, PeopleService, ProgramService
from responsa_server.calls.services.auth import AuthService
from responsa_server.calls.services.chat import ChatService, ShareService, ToolService
from responsa_server.calls.services.generating import GeneratingService
from responsa_server.calls.services.knowledge import KnowledgeService
from responsa_server.calls.services.operations import OperationsService
from responsa_server.calls.services.parts import Services
from responsa_server.domain.background import Background
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.identity.accounts import Accounts
from responsa_server.stores.postgres.audit import PostgresAuditTrail
from responsa_server.stores.postgres.groups import PostgresGroups
from responsa_server.stores.postgres.resources import ASKED_PROGRAMS, PROGRAMS, TEACHERS, ResourceTable
from responsa_server.stores.postgres.shares import PostgresShares
from responsa_server.telemetry.stages import OFF, Traces

# These methods wait for other work to end, and write nothing meanwhile. If such a method does work before it waits, it
# shields that work from cancellation.
_WAITING: Final = ("Answer", "WaitOperation", "GetDocumentPage", "PreviewSource")
# A document whose caller has left before it was accepted is not accepted: its transaction fails.
_UNDONE: Final = ("CreateDocument",)

MAX_CALLS: Final = 2_000


def calls_of(
    services: Services,
    *,
    max_calls: int = MAX_CALLS,
    cookie: SessionCookie | None = None,
    widgets: Mapping[UUID, frozenset[str]] = MappingProxyType({}),
    logger: Logger | None = None,
    traces: Traces = OFF,
) -> Calls:
    """All calls of one server, for every transport.

    max_calls: the maximum number of calls at a time, without health checks and reflection; further calls fail with
    OVERLOADED. cookie: this server's session cookie.
    widgets: the origins of each key of a widget, by the key's id.
    logger: logs one line per call; structlog's logger by default. traces: how calls are traced.
    """
    log: Logger = structlog.get_logger("calls") if logger is None else logger
    validation = Validation()
    admission = CallAdmission(max_calls)
    calls = Calls(
        (
            CallId(),
            Traced(traces),
            Log(log),
            Errors(log, services.turns.errors),
            Routed(),
            Deadline(),
            admission,
            *(() if services.limiter is None else (AddressLimits(services.limiter),)),
            validation,
            Audited(PostgresAuditTrail(services.database)),
            CredentialCheck(services.identity, cookie, widgets),
            *(() if services.limiter is None else (CallerLimits(services.limiter),)),
            Authorised(),
            LastingCalls(services.watch),
            OwnersOnly(),
        ),
        admission,
        log,
        services.turns.errors,
    )
    calls.add(_methods(services, calls.work))
    validation.warm([method.request for method in calls.methods()])
    return calls


def health_calls(logger: Logger | None = None) -> Calls:
    """The calls of a process that serves only health checks; the transport adds the methods. No method that needs a
    credential is served."""
    log: Logger = structlog.get_logger("calls") if logger is None else logger
    admission, errors = CallAdmission(0), UnexpectedErrors()
    return Calls(
        (CallId(), Log(log), Errors(log, errors), Routed(), Deadline(), admission, Validation()),
        admission,
        log,
        errors,
    )


def _methods(services: Services, work: Background) -> Iterator[Method]:
    database, new_id = services.database, services.new_id
    handlers: Sequence[Sequence[object]] = (
        [
            ChatService(services, work),
            GeneratingService(services),
            ToolService(services.tools, services.catalogue),
            ShareService(PostgresShares(database, AskFrames())),
        ],
        [KnowledgeService(services, work)],
        [AuthService(services, work)],
        [
            InstallationService(services),
            ResourceCalls(
                teacher_pb2.Teacher,
                admin_service_pb2.ListTeachersResponse,
                ResourceTable(database, TEACHERS, new_id),
            ),
            ProgramService(ResourceTable(database, PROGRAMS, new_id)),
            ResourceCalls(
                program_pb2.AskedProgram,
                admin_service_pb2.ListAskedProgramsResponse,
                ResourceTable(database, ASKED_PROGRAMS, new_id),
            ),
            PeopleService(services, work),
            GroupService(PostgresGroups(database, new_id)),
            InsightService(services.insight),
        ],
        [OperationsService(services.library)],
    )
    for descriptor, of_service in zip(DESCRIPTORS.values(), handlers, strict=True):
        for method in methods_of(
            descriptor, *of_service, *services.extensions, waiting=_WAITING, undone=_UNDONE
        ):
            yield _recently_signed_in(method, services.accounts)


def _recently_signed_in(method: Method, accounts: Accounts) -> Method:
    """The method, after the check that its option `recent_session` wants. The check follows the reading of the request,
    so that the audit log names what a refusal is about."""
    checks = {
        method_pb2.RECENT_SESSION_OR_KEY: accounts.require_recent_session,
        method_pb2.RECENT_SESSION_ONLY: accounts.require_recent_sign_in,
    }
    check = checks.get(METHODS[method.name].GetOptions().Extensions[method_pb2.recent_session])

    async def handle(request: Message) -> Message:
        assert check is not None
        await check(caller())
        return await method.handler(request)

    return method if check is None else replace(method, handler=handle)
