"""Runs every case over gRPC, and over REST and gRPC-Web those that may differ there. The responses are as expected and
the same everywhere, and calls that fail or only validate leave no rows or files behind.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import MethodDescriptor

from tests.callers import Credential, Registry, Tenant
from tests.cases.matching import Steady, at, differences, fill
from tests.cases.model import FOLDER, NUMBERS, Case, Problem, Step, read_all
from tests.cases.outside import outside
from tests.instance import ROOT, Instance, eventually
from tests.transports import (
    TERMINAL,
    Call,
    Json,
    Outcome,
    Way,
    Ways,
    events_of,
    merged,
    method_of,
    request_of,
    rule_of,
)
from tests.transports_sse import METHODS as EVENT_STREAMS
from tests.transports_sse import Sse
from tests.transports_ws import Ws, frames_of, steadily
from tests.wire.smtp import MailServer

CASES = read_all()
GOLDEN = FOLDER / "golden"
AGENTS = FOLDER / "agents"
"""The folders that the cases name, with the content that a user would have there."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What was prepared for a call over a transport: the tenant, and the values that the steps stored."""

    way: Way
    tenant: Tenant
    kept: Mapping[str, str]


@pytest.fixture(scope="module")
def ways(instance: Instance, registry: Registry) -> Iterator[Ways]:
    with (
        Ways(instance.target, {Way.WS: Ws(instance.target)}) as transports,
        outside(instance.home / "tools"),
        cast_of(instance, transports),
        databases_of(instance),
    ):
        transports.add(Way.SSE, Sse(transports.http))
        yield transports
    with registry.database() as connection:
        unnamed = "SELECT resource_name FROM responsa.audit_event WHERE action = '' AND call_id <> ''"
        assert connection.execute(unnamed).fetchall() == [], "the contract names no action for an act"


@contextmanager
def cast_of(instance: Instance, ways: Ways) -> Generator[None]:
    """The agents of these cases, in addition to the shipped ones."""
    folder = instance.home / "agents"
    names = [path.name for path in AGENTS.iterdir()]
    headers = {"authorization": f"Bearer {instance.key}"}
    for name in names:
        shutil.copytree(AGENTS / name, folder / name)
    try:
        read = ways.call("AdminService/ReloadAgents", {}, headers).message["agents"]
        assert {f"agents/{name}" for name in names} <= {one["agent"] for one in read}
        assert not any("problems" in one for one in read), read
        yield
    finally:
        for name in names:
            shutil.rmtree(folder / name)
        ways.call("AdminService/ReloadAgents", {}, headers)


@contextmanager
def databases_of(instance: Instance) -> Generator[None]:
    """A connection `staff` for all tenants, and `vault` for none of them, with a small SQLite database; and a webhook."""
    folder = instance.home / "connections"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "staff.db")) as connection, connection:
        connection.execute("CREATE TABLE employee (id integer, name text, mail text, note text)")
        rows = [(1, "Ada", "ada@example.org", None), (2, "Bela", "bela@example.org", "Writes.")]
        connection.executemany("INSERT INTO employee VALUES (?, ?, ?, ?)", rows)
    for name, tenant in (("staff", "*"), ("vault", "somebody-else")):
        text = f'kind = "sqlite"\nfile = "staff.db"\ntenants = ["{tenant}"]\n'
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    hooks = instance.home / "webhooks"
    hooks.mkdir()
    # No address of this machine may be reached, so the deliveries fail.
    hook = 'url = "https://127.0.0.1/"\nsecret = { env = "MISSING" }\ntenants = ["*"]\nevents = ["source.succeeded"]\n'
    (hooks / "room.toml").write_text(hook, encoding="utf-8")
    try:
        yield
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(hooks)


def spooled(instance: Instance) -> list[str]:
    """Files that an upload might leave in the data folder or in the system's temporary folder."""
    return sorted(
        str(path.relative_to(instance.home)) for path in (instance.home / "data").rglob("*") if path.is_file()
    )


def linked(tenant: Tenant, user: str) -> str:
    """Give a user an identity at a provider, as a sign-in there does. Returns its name."""
    with tenant.registry.database() as connection:
        row = connection.execute(
            (
                "INSERT INTO responsa.user_identity (tenant_id, issuer, sub, user_id) VALUES (%s, "
                "'https://login.example.org', %s, %s) RETURNING id"
            ),
            (tenant.name, user, user.removeprefix("users/")),
        ).fetchone()
    assert row is not None
    return f"identities/{row[0]}"


def asked_by(tenant: Tenant, program: str) -> str:
    """Let a program ask for its address, as a refused registration does. Returns the name of what it asked for."""
    with tenant.registry.database() as connection, connection.transaction():
        uri = f"https://{program}.example/back"
        connection.execute("SELECT responsa.ask_for_redirects(%s, %s, '')", (program, [uri]))
        query = "SELECT id FROM responsa.asked_program WHERE redirect_uri = %s"
        row = connection.execute(query, (uri,)).fetchone()
    assert row is not None
    return f"askedPrograms/{row[0]}"


def add_pattern(tenant: Tenant) -> None:
    """Give a tenant a pattern of one unanswered question. The server would group the question within some seconds."""
    with tenant.registry.database() as connection, connection.transaction():
        place = connection.execute(
            "INSERT INTO responsa.question_pattern (id, tenant_id, embedding, vector, central, turns, last_time) "
            "VALUES (uuidv7(), %s, 'm', '', '', 1, now()) RETURNING tenant_id, id",
            (tenant.name,),
        ).fetchone()
        connection.execute(
            "INSERT INTO responsa.pattern_day (tenant_id, monthly, day, pattern_id, answered, refused, no_support, failed, "
            "cancelled, cited_answers, citations, unsupported, first_time, last_time) "
            "SELECT %s, monthly, date_trunc(CASE WHEN monthly THEN 'month' ELSE 'day' END, now(), 'UTC'), %s, "
            "0, 1, 1, 0, 0, 0, 0, 0, now(), now() FROM (VALUES (false), (true)) AS p (monthly)",
            place,
        )


def prepare(
    steps: Sequence[Step], tenant: Tenant, ways: Ways, mails: MailServer, holding: ExitStack
) -> dict[str, str]:
    """Run the steps, and return the values that they stored."""
    kept = {"none": "01900000-0000-7000-8000-000000000000", "fresh": f"{tenant.name}-fresh"}
    for step in steps:
        if step.hold:
            holding.enter_context(tenant.registry.holding(step.hold))
            continue
        if step.mail:
            kept["code"] = mails.to(fill(step.mail, kept))[-1].code
            continue
        if step.identity:
            kept["identity"] = linked(tenant, fill(step.identity, kept))
            continue
        if step.program:
            kept["asked"] = asked_by(tenant, fill(step.program, kept))
            continue
        if step.pattern:
            add_pattern(tenant)
            continue
        method = method_of(step.call)
        requests = [request_of(method, fill(request, kept)) for request in step.requests or [step.request]]
        headers = tenant.headers(step.credential)
        call = Call(method, requests, headers=headers)
        message = ways.by_name[Way.GRPC].call(call).message
        if step.until is not None:
            eventually(
                lambda call=call, step=step: (
                    not differences(step.until, ways.by_name[Way.GRPC].call(call).message)
                ),
                step.call,
            )
        if step.wait:
            waited = {"name": message["name"], "timeout": "60s"}
            message = ways.call("Operations/WaitOperation", waited, headers).message
            assert message["done"], message
            assert "error" not in message, message
        kept |= {name: str(at(message, path)) for name, path in step.keep.items()}
    return kept


def call_of(case: Case, service: str, kept: Mapping[str, str], tenant: Tenant, way: Way) -> Call:
    method = method_of(f"{service}/{case.method}")
    headers = tenant.headers(case.credential)
    if case.raw is not None:
        given = case.raw.body if way in (Way.REST, Way.SSE) else case.raw.message
        return Call(method, raw=base64.b64decode(given), headers=headers)
    requests = case.requests if case.requests is not None else [case.request or {}]
    return Call(method, [request_of(method, fill(request, kept)) for request in requests], headers=headers)


def details(problem: Json, kind: str) -> Json:
    found = [one for one in problem.get("details", []) if one["@type"].endswith(f"/google.rpc.{kind}")]
    return found[0] if found else {}


def check_problem(expected: Problem, problem: Json | None, kept: Mapping[str, str], *, fields: bool) -> None:
    assert problem is not None, "it went well"
    info = details(problem, "ErrorInfo")
    assert (problem["code"], info["reason"], info["domain"]) == (
        NUMBERS[expected.code],
        expected.reason,
        "responsa",
    )
    found = details(problem, "BadRequest").get("fieldViolations", [])
    assert not fields or [one["field"] for one in found] == expected.fields
    assert all(one["description"] and one["reason"] for one in found)
    assert expected.says in problem["message"], problem["message"]
    assert not differences(fill(expected.metadata, kept), info.get("metadata", {}))
    assert set(info.get("metadata", {})) == set(expected.metadata)


def check_golden(name: str, events: Any, way: Way) -> None:
    path = GOLDEN / f"{name}.json"
    if way is Way.GRPC and os.environ.get("RESPONSA_GOLDEN") == "write":
        lines = (json.dumps(event, ensure_ascii=False) for event in events)
        path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    assert events == json.loads(path.read_text(encoding="utf-8"))


def check(case: Case, outcome: Outcome, kept: Mapping[str, str], names: Sequence[str], way: Way) -> Any:
    """Compare an outcome with the expected result. Returns the outcome in a form that is the same in every run and on every
    transport.
    """
    expect = case.expect
    steady = Steady(names, case.unsteady)
    if expect.problem is not None:
        check_problem(
            expect.problem,
            outcome.problem,
            kept,
            fields=way not in (Way.REST, Way.SSE) or not case.words_differ,
        )
        return None if case.words_differ else steady.of(outcome.problem)
    assert outcome.problem is None, outcome.problem
    if expect.golden and way is Way.WS:
        # WebSocket frames are compared with frames made from the same events. Frames lack some fields, which are compared
        # between the other transports.
        golden = json.loads((GOLDEN / f"{expect.golden}.json").read_text(encoding="utf-8"))
        came, wanted = steadily(steady.of(list(outcome.messages))), steadily(frames_of(golden))
        assert came == wanted, f"{came} is not {wanted}"
        return golden
    if expect.golden:
        after_seq = int((case.request or {}).get("afterSeq", 0))
        events = steady.of(merged(events_of(outcome.messages, after_seq)))
        check_golden(expect.golden, events, way)
        return events
    if expect.messages is not None:
        assert not differences(fill(expect.messages, kept), list(outcome.messages))
        return steady.of(list(outcome.messages))
    found = differences(fill(expect.response, kept), outcome.message)
    assert not found, found
    return steady.of(outcome.message)


def last_event(case: Case) -> str:
    """The kind of the last event of a golden stream; empty if the case has none."""
    if not case.expect.golden:
        return ""
    *_, last = json.loads((GOLDEN / f"{case.expect.golden}.json").read_text(encoding="utf-8"))
    return next((kind for kind in TERMINAL if kind in last), "none")


def over_grpc_web() -> tuple[set[str], set[str]]:
    """The cases that also run over gRPC-Web, whose messages are those of gRPC, in other frames: one that succeeds for
    each RPC, one for each reason of an error and each last event of a stream, and all malformed messages. Of these, the
    first of each service and reason run over its text form, too, which is their base64.
    """
    binary, text = dict[object, str](), dict[object, str]()
    for key, case in CASES.items():
        rpc, problem = key.split(":")[0], case.expect.problem
        result = problem.reason if problem else last_event(case)
        binary.setdefault(key if case.raw is not None else result if problem else (rpc, result), key)
        if Way.WEB_TEXT in case.ways:
            text.setdefault(key if case.raw is not None else (rpc.split("/")[0], result), key)
    return set(binary.values()), set(text.values())


OVER_WEB, OVER_WEB_TEXT = over_grpc_web()


def over_rest() -> set[str]:
    """The cases that also run over REST: of those that succeed, the first of each RPC with its set of fields and its last
    event; of those that fail, the first of each RPC and the first of each reason and field; and those whose request or
    words differ there."""
    first: dict[object, str] = {}
    for key, case in CASES.items():
        rpc = key.split(":")[0]
        if (problem := case.expect.problem) is None:
            first.setdefault((rpc, last_event(case), *sorted(case.request or {})), key)
        else:
            first.setdefault(rpc, key)
            first.setdefault((problem.reason, *problem.fields), key)
        if case.raw is not None or case.words_differ:
            first[key] = key
    return set(first.values())


OVER_REST = over_rest()


def ways_of(key: str) -> Sequence[Way]:
    """The transports of a case. A case that runs over REST and streams a turn also runs over event streams."""
    case = CASES[key]
    events = case.method in EVENT_STREAMS and Way.REST in case.ways
    if Way.GRPC not in case.ways:
        return [*case.ways, *([Way.SSE] if events else [])]
    if case.expect.problem is not None and key not in OVER_REST:
        return [Way.GRPC]
    some = {Way.WEB: OVER_WEB, Way.WEB_TEXT: OVER_WEB_TEXT, Way.REST: OVER_REST}
    return [*(way for way in case.ways if key in some.get(way, CASES)), *([Way.SSE] if events else [])]


def scenes(
    key: str, method: MethodDescriptor, registry: Registry, ways: Ways, mails: MailServer
) -> Generator[Scene]:
    """What was prepared for the call over each transport. A call that fails, only reads, or asks in a new conversation
    leaves all as it was for the next call, so the same scene serves every transport. Calls that fail and need nothing
    have one tenant.
    """
    case = CASES[key]
    asks = method.name in ("Answer", "Ask") and not {"conversation", "requestId"} & set(case.request or {})
    stays = case.expect.problem is not None or bool(rule_of(method).get) or asks
    scene: Scene | None = None
    with ExitStack() as holding:
        for way in ways_of(key):
            if scene is None or not stays:
                holding.close()
                alone = case.setup or case.expect.problem is None
                tenant = registry.new_tenant() if alone else registry.common
                scene = Scene(way, tenant, prepare(case.setup, tenant, ways, mails, holding))
            yield replace(scene, way=way)


@pytest.mark.parametrize("key", CASES)
def test_case(key: str, instance: Instance, registry: Registry, ways: Ways, mail_server: MailServer) -> None:
    case = CASES[key]
    service = key.split("/")[0]
    results: dict[Way, Any] = {}
    before: object = None
    # A lock that a scene holds ends with the test, even if the test fails.
    with closing(scenes(key, method_of(f"{service}/{case.method}"), registry, ways, mail_server)) as prepared:
        for scene in prepared:
            way, tenant = scene.way, scene.tenant
            call = call_of(case, service, scene.kept, tenant, way)
            stores_nothing = case.expect.problem or (case.request or {}).get("validateOnly")
            # Calls that fail share a tenant, and what the first of them left alone is what the next one finds.
            if stores_nothing and (before is None or case.expect.problem is None):
                before = (registry.rows(*tenant.names), spooled(instance))
            outcome = ways.by_name[way].call(call)
            if stores_nothing:
                assert (registry.rows(*tenant.names), spooled(instance)) == before, (
                    f"{way}: something was left behind"
                )
            results[way] = check(case, outcome, scene.kept, tenant.names, way)
    first, *others = ways_of(key)
    for way in others:
        assert results[way] == results[first], f"{way} and {first} have different results: {results}"


def test_every_call_has_a_case_that_succeeds_and_one_that_fails() -> None:
    image = descriptor_pb2.FileDescriptorSet.FromString(
        (ROOT / "generated" / "descriptor.binpb").read_bytes()
    )
    methods = {
        f"{service.name}/{method.name}"
        for file in image.file
        if file.package.startswith("responsa.") or file.package == "google.longrunning"
        for service in file.service
        for method in service.method
    }
    assert len(methods) >= 35
    good = {key.split(":")[0] for key, case in CASES.items() if case.expect.problem is None}
    bad = {key.split(":")[0] for key, case in CASES.items() if case.expect.problem is not None}
    assert good == methods
    assert bad == methods


def test_every_bad_credential_is_refused_somewhere() -> None:
    bad = {
        Credential.NONE,
        Credential.MALFORMED,
        Credential.UNKNOWN,
        Credential.REVOKED,
        Credential.OTHER_TENANT,
    }
    assert bad <= {case.credential for case in CASES.values() if case.expect.problem}
    assert any(
        case.credential is Credential.SESSION and case.expect.problem is None for case in CASES.values()
    )


def test_no_golden_file_is_left_over() -> None:
    used = {f"{case.expect.golden}.json" for case in CASES.values() if case.expect.golden}
    assert {path.name for path in Path(GOLDEN).iterdir()} == used
