"""Every RPC, every resource, every stranger and every door: no reply tells a stranger more than that of a resource that
does not exist, and nothing of the victim's changes.

The requests are made from the descriptors, so a new RPC is among them by itself. `make test` draws 500 of them, as
evenly as possible from all methods, fields and doors; `make soak CAMPAIGN=strangers` makes them all. RESPONSA_SOAK_SEED
with the seed that a failure names draws the same ones again.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_etl.domain import NewSource
from responsa_etl.stores.sources import PostgresSources
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.call import ON_BEHALF_OF
from responsa_server.domain.accounts import Claims, NewSession
from responsa_server.domain.people import AuditEvent, NewKey, Origin, Principal, Role
from responsa_server.identity.settings import TokenSettings
from responsa_server.identity.tokens import Secret, Tokens
from responsa_server.stores.postgres.accounts import PostgresAccountStore
from responsa_server.stores.postgres.database import Database
from tests.faults.forms import Form, Report, forms
from tests.people import SECRET
from tests.rpc.doors import Doors, Reply, doors, elsewhere
from tests.rpc.served import Serve, Served, caller
from tests.rpc.sweeping import PUBLIC_TYPES, Try, creations, name_in, named_types, over_rest, tries
from tests.rpc.test_service_grants import grant, service_of

TRIES = 10_000
"""How many calls all requests together are, at least."""
ORIGIN = "https://www.example.org"
EACH = 2
"""How many resources of each type the victim has."""
CANARY = "quillfeather"
SHARED_CANARY = "thornwing"
"""Words in the victim's conversations and documents."""
SHARED = frozenset({"responsa.example.org/User", "responsa.example.org/Group"})
"""The types of resources whose names all users of a tenant see, because they share collections with each other and with groups."""
NAMING: Mapping[tuple[str, str], str] = {
    (
        "/responsa.knowledge.v1.KnowledgeService/CreateCollection",
        "collection.readers.user",
    ): "users share collections with each other, and a wrong name must not look like a reader",
    (
        "/responsa.knowledge.v1.KnowledgeService/CreateCollection",
        "collection.readers.group",
    ): "everyone in the tenant sees its groups, to share collections with them",
    **{
        (f"/responsa.admin.v1.AdminService/{method}", field): "everyone in the tenant sees its groups"
        for method, field in (("GetGroup", "name"),)
    },
}
"""The methods and fields with which a user may learn whether a user of the same tenant exists, with the reasons. All
other requests get the same reply as for a user who does not exist."""
ADMINISTERED = SHARED | {kind for method, kind in named_types() if RULES[method] in (Rule.ADMIN, Rule.OWNER)}
"""The types that administrators of the tenant administer, in addition."""
VAIN: Mapping[str, str] = {
    "GET /users/email/{id}": "it takes an address",
    "POST /users/{id}/reprocess": "only services with a source of profiles make it",
    "POST /users/{id}/test-completed": "only services with a source of profiles make it",
    "GET /analytics/users/{id}": "of nobody, it counts nothing",
    "GET /feedback?user_id={id}": "of nobody, it lists nothing",
}
"""The shapes in which not even the victim or the administrator sees a difference, with the reasons."""
_KNOWLEDGE, _OPERATIONS = "/responsa.knowledge.v1.KnowledgeService/", "/google.longrunning.Operations/"
MANAGING = {
    "/responsa.chat.v1.ChatService/CancelTurn",
    *(
        _KNOWLEDGE + one
        for one in (
            "GetCollection",
            "UpdateCollection",
            "DeleteCollection",
            "ListGenerations",
            "ReindexCollection",
            "ActivateGeneration",
            "DeleteGeneration",
            "CreateDocument",
            "UploadDocument",
            "DeleteDocument",
            "UpdateDocument",
            "ReindexDocument",
            "RestoreDocumentVersion",
            "WatchOperation",
        )
    ),
    *(_OPERATIONS + one for one in ("GetOperation", "DeleteOperation", "CancelOperation", "WaitOperation")),
}
"""What administrators may do with what belongs to others. Everything else is closed to them as to any stranger: they do
not read documents, conversations and turns."""
NAMES: Mapping[str, str] = {
    "responsa.example.org/Agent": "SELECT 'agents/default'",
    "responsa.example.org/AgentVersion": "SELECT 'agents/default/versions/1'",
    "responsa.example.org/ApiKey": "SELECT 'apiKeys/' || id FROM responsa.api_key WHERE tenant_id = 'acme' AND display_name ~ '^spare'",
    "responsa.example.org/Collection": (
        "SELECT 'collections/' || unnest(ARRAY[slug, id]) FROM responsa.collection WHERE "
        "tenant_id = 'acme' AND slug = 'secrets'"
    ),
    "responsa.example.org/Conversation": "SELECT 'conversations/' || id FROM responsa.conversation WHERE tenant_id = 'acme'",
    "responsa.example.org/Delivery": "SELECT 'deliveries/' || id FROM responsa.delivery WHERE tenant_id = 'acme'",
    "responsa.example.org/Document": "SELECT 'documents/' || id FROM responsa.document WHERE tenant_id = 'acme'",
    "responsa.example.org/DocumentVersion": (
        "SELECT 'documents/' || document_id || '/versions/' || version FROM "
        "responsa.document_version WHERE tenant_id = 'acme'"
    ),
    # Only owners reach programs that asked and experiments (test_owners.py), so none is made here.
    "responsa.example.org/AskedProgram": "SELECT 'askedPrograms/01900000-0000-7000-8000-000000000000'",
    "responsa.example.org/Experiment": "SELECT 'experiments/01900000-0000-7000-8000-000000000000'",
    "responsa.example.org/Feedback": "SELECT 'messages/' || id || '/feedback' FROM responsa.message WHERE tenant_id = 'acme'",
    "responsa.example.org/Generation": (
        "SELECT 'collections/' || unnest(ARRAY[slug, id]) || '/generations/1' FROM "
        "responsa.collection WHERE tenant_id = 'acme' AND slug = 'secrets'"
    ),
    "responsa.example.org/Identity": "SELECT 'identities/' || id FROM responsa.user_identity WHERE tenant_id = 'acme'",
    "responsa.example.org/Invitation": "SELECT 'invitations/' || id FROM responsa.invitation WHERE tenant_id = 'acme'",
    "responsa.example.org/Message": "SELECT 'messages/' || id FROM responsa.message WHERE tenant_id = 'acme'",
    "responsa.example.org/Operation": "SELECT 'operations/' || id FROM responsa.operation WHERE tenant_id = 'acme'",
    "responsa.example.org/Passage": "SELECT 'passages/' || id FROM responsa.passage WHERE tenant_id = 'acme'",
    "responsa.example.org/QuestionPattern": "SELECT 'questionPatterns/' || id FROM responsa.question_pattern WHERE tenant_id = 'acme'",
    "responsa.example.org/ServiceGrant": "SELECT 'serviceGrants/' || id FROM responsa.service_grant WHERE tenant_id = 'acme'",
    "responsa.example.org/Session": "SELECT 'sessions/' || id FROM responsa.session WHERE tenant_id = 'acme'",
    "responsa.example.org/Share": "SELECT 'shares/' || id FROM responsa.share WHERE tenant_id = 'acme'",
    "responsa.example.org/Source": "SELECT 'sources/' || id FROM responsa.source WHERE tenant_id = 'acme'",
    "responsa.example.org/Tenant": "SELECT 'tenants/acme'",
    "responsa.example.org/Tool": "SELECT 'tools/time'",
    "responsa.example.org/Turn": "SELECT 'turns/' || id FROM responsa.turn WHERE tenant_id = 'acme'",
    "responsa.example.org/User": "SELECT 'users/' || id FROM responsa.app_user WHERE tenant_id = 'acme' AND disable_time IS NULL",
    "responsa.example.org/UserLimits": (
        "SELECT 'users/' || id || '/limits' FROM responsa.app_user WHERE tenant_id = 'acme' AND "
        "disable_time IS NULL"
    ),
    "responsa.example.org/UserQuota": (
        "SELECT 'users/' || id || '/quota' FROM responsa.app_user WHERE tenant_id = 'acme' AND "
        "disable_time IS NULL"
    ),
}
"""A statement for each type that finds the names of the victim's resources. Without one, an administrator creates them."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A caller to whom the victim's resources do not exist. reason: what each call gets; "" if the caller has a good
    credential. hidden_but: the types whose names the caller may know.
    may: the methods with which the caller may manage the victim's resources."""

    name: str
    headers: Mapping[str, Sequence[str]]
    reason: str = ""
    hidden_but: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()


async def victims(served: Served) -> dict[str, list[str]]:
    """The names of bob's resources and of those of bob's tenant, by type. Each text has the canary."""
    ann, bob = served.ann, served.bob
    await served.knowledge.CreateCollection(
        knowledge.CreateCollectionRequest(collection_id="secrets"), metadata=bob.metadata
    )
    for number in range(EACH):
        request = chat.AnswerRequest(text=f"Does the {CANARY} {number} fly?")
        answer = await served.chat.Answer(request, metadata=bob.metadata)
        await served.chat.ShareTurn(chat.ShareTurnRequest(turn=answer.name), metadata=bob.metadata)
        source = NewSource(f"{CANARY}-{number}", CANARY, CANARY)
        await PostgresSources(served.harness.database, served.harness.queue, uuid7).create(
            ann.who, source, CANARY, "secrets"
        )
        await served.auth.CreateInvitation(auth.CreateInvitationRequest(), metadata=ann.metadata)
        text = f"The {SHARED_CANARY} number {number} sings at dawn."
        await served.harness.take_in(bob.who, text, f"{number}.md", collection="secrets")
        code, _ = await served.identity.create_session_code(bob.who)
        await served.identity.exchange_code(code)
        await served.identity.create_api_key(bob.who, NewKey(f"spare {number}"))
    for number in range(EACH):
        served.harness.ask(
            (
                "INSERT INTO responsa.delivery (id, tenant_id, webhook, operation_id, source_id, event, "
                "body) VALUES (%s, 'acme', %s, %s, %s, 'source.failed', %s) RETURNING 1"
            ),
            uuid7(),
            CANARY,
            uuid7(),
            f"{CANARY}-{number}",
            CANARY,
        )
        served.harness.ask(
            (
                "INSERT INTO responsa.user_identity (tenant_id, issuer, sub, user_id) VALUES ('acme', "
                "'https://login.example.org', %s, %s) RETURNING 1"
            ),
            f"{CANARY} {number}",
            bob.who.user_id,
        )
        served.harness.ask(
            (
                "INSERT INTO responsa.question_pattern (id, tenant_id, embedding, vector, central, turns, "
                "last_time, title, note) VALUES (%s, 'acme', 'm', '', '', 1, now(), %s, %s) RETURNING 1"
            ),
            uuid7(),
            CANARY,
            CANARY,
        )
    await grant(served, await service_of(served), bob)
    found = {kind: [str(row[0]) for row in served.harness.ask(query)] for kind, query in NAMES.items()}
    for kind, method, request in creations(found):
        made = [await served.raw(method, request, ann) for _ in range(EACH)]
        found[kind] = [name_in(method, response) for response in made]
    assert all(found.values()), found
    return found


async def strangers(
    served: Served, database: Database, widgets: dict[UUID, frozenset[str]]
) -> list[Stranger]:
    """All kinds of callers who have nothing to do with the victim, and all kinds of bad credentials, the victim's former ones included."""
    identity, bob = served.identity, served.bob.who

    async def key_of(tenant: str, role: Role) -> str:
        return (await caller(identity, served.channel, tenant, role)).secret

    def sql(query: str, *values: object) -> None:
        served.harness.ask(query, *values)

    async def session_of(user: UUID) -> str:
        who = Principal("acme", user, Role.USER, "api_key")
        code, _ = await identity.create_session_code(who)
        return (await identity.exchange_code(code))[0]

    async def token_of(user: UUID, end: str = "", resource: str = "") -> str:
        """An access token of a session, which this statement then changes. resource: of a program's token."""
        session = uuid7()
        store = PostgresAccountStore(database)
        new = NewSession(session, uuid7().bytes * 2, Origin(), 3600)
        await store.begin_session(user, "tokens", new, event())
        claims = Claims("acme", user, session, resource, frozenset({"search", "ask"} if resource else ()))
        signed, _, _ = await tokens.sign(claims, datetime.now(UTC))
        if end:
            sql(end, session)
        return signed

    def event() -> AuditEvent:
        return AuditEvent("acme", "users/x", "session.create", "sessions/x")

    async def own_key(end: str) -> str:
        key, secret = await identity.create_api_key(bob, NewKey("former"))
        sql(end, key.id)
        return secret

    tokens = Tokens(PostgresAccountStore(database), Secret(SECRET), TokenSettings())
    disabled = await caller(identity, served.channel, "acme", Role.USER)
    their_session = await session_of(disabled.who.user_id)
    their_token = await token_of(disabled.who.user_id)
    sql("UPDATE responsa.app_user SET disable_time = now() WHERE id = %s", disabled.who.user_id)
    ended = await session_of(bob.user_id)
    await identity.end_session(ended)
    token = await token_of(bob.user_id)
    header, payload, signature = token.split(".")
    old, _, _ = await tokens.sign(
        Claims("acme", bob.user_id, uuid7()), datetime.now(UTC) - timedelta(hours=2)
    )
    none = (
        base64.urlsafe_b64encode(json.dumps({**decoded(header), "alg": "none"}).encode()).decode().rstrip("=")
    )
    refused = {
        "": "CREDENTIAL_MISSING",
        "Bearer rsp_short": "CREDENTIAL_MALFORMED",
        f"Bearer rsp_{'A' * 43}": "CREDENTIAL_UNKNOWN",
        f"Bearer {await own_key('UPDATE responsa.api_key SET revoke_time = now() WHERE id = %s')}": "CREDENTIAL_REVOKED",
        f"Bearer {await own_key('UPDATE responsa.api_key SET expire_time = now() WHERE id = %s')}": "CREDENTIAL_EXPIRED",
        f"Bearer {disabled.secret}": "USER_DISABLED",
        f"Bearer {their_token}": "USER_DISABLED",
        f"Bearer {old}": "TOKEN_INVALID",
        f"Bearer {await token_of(bob.user_id, 'DELETE FROM responsa.session WHERE id = %s')}": "TOKEN_INVALID",
        f"Bearer {await token_of(bob.user_id, resource='https://elsewhere.example/mcp')}": "TOKEN_INVALID",
        f"Bearer {header}.{payload}.{signature[::-1]}": "TOKEN_INVALID",
        f"Bearer {none}.{payload}.": "TOKEN_INVALID",
        f"responsa_session={their_session}": "USER_DISABLED",
        f"responsa_session={ended}": "CREDENTIAL_UNKNOWN",
        # An expired session is the same as an unknown one: the next sign-in in the tenant deletes it.
    }
    services = {tenant: await key_of(tenant, Role.SERVICE) for tenant in ("acme", "rival")}
    without_grant = [
        Stranger(
            f"service of {tenant} for {whom}",
            {"authorization": [f"Bearer {services[tenant]}"], ON_BEHALF_OF: [f"users/{user}"]},
            "GRANT_REQUIRED",
        )
        for tenant, whom, user in (
            ("acme", "the victim", bob.user_id),
            ("rival", "the victim", bob.user_id),
            ("acme", "an administrator", served.ann.who.user_id),
            ("acme", "nobody", uuid7()),
        )
    ]
    service, other = await service_of(served), await caller(identity, served.channel, "acme", Role.USER)
    await grant(served, service, other)
    # Whoever of the tenant knows a share's name may read it.
    sharing = frozenset({"/responsa.chat.v1.ChatService/GetShare"})
    acting = Stranger(
        "service of acme for another user",
        {"authorization": [f"Bearer {service.secret}"], ON_BEHALF_OF: [f"users/{other.who.user_id}"]},
        "",
        SHARED,
        sharing,
    )
    bad = [
        Stranger(
            f"{reason} {given[:20]}",
            {"cookie" if "=" in given else "authorization": [given], "sec-fetch-site": ["same-origin"]}
            if given
            else {},
            reason,
        )
        for given, reason in refused.items()
    ]
    # Services read the profiles of all subjects, and users are subjects.
    profiles = _KNOWLEDGE + "GetSubjectProfile"
    serving = frozenset(method for method, rule in RULES.items() if rule is Rule.SERVICE) | {profiles}
    good = [
        Stranger(
            f"{role} of {tenant}",
            {"authorization": [f"Bearer {await key_of(tenant, role)}"]},
            "",
            SHARED if tenant == "acme" else frozenset(),
            (serving if role is Role.SERVICE else frozenset[str]()) | sharing
            if tenant == "acme"
            else frozenset[str](),
        )
        for tenant, role in (
            ("rival", Role.ADMIN),
            ("rival", Role.USER),
            ("rival", Role.SERVICE),
            ("acme", Role.USER),
            ("acme", Role.SERVICE),
        )
    ]
    principal = (await caller(identity, served.channel, "acme", Role.ADMIN)).who
    _, narrow = await identity.create_api_key(principal, NewKey("narrow", role=Role.USER))
    good.append(
        Stranger(
            "narrower key of an admin of acme", {"authorization": [f"Bearer {narrow}"]}, "", SHARED, sharing
        )
    )
    administering = serving | {method for method, rule in RULES.items() if rule in (Rule.ADMIN, Rule.OWNER)}
    administrator = Stranger(
        "admin of acme",
        {"authorization": [f"Bearer {await key_of('acme', Role.ADMIN)}"]},
        "",
        ADMINISTERED,
        frozenset(MANAGING | administering | sharing),
    )
    # The victim's own key for a widget is a stranger to all that the victim has.
    key, secret = await identity.create_key("acme", bob.user_id, "site", widget=True)
    widgets[key.id] = frozenset({ORIGIN})
    widget = Stranger("widget of the victim", {"authorization": [f"Bearer {secret}"], "origin": [ORIGIN]})
    return [*good, acting, *bad, *without_grant, administrator, widget]


def decoded(part: str) -> dict[str, object]:
    return json.loads(base64.urlsafe_b64decode(part + "=="))


def rows(served: Served, users: Sequence[str]) -> Counter[str]:
    """Digests of all rows of the victim's tenant. users: the names of the tenant's users who are not strangers;
    strangers may change themselves with UpdateMe. Times of use are left out, and so is the audit log, which grows.
    """
    tables = served.harness.ask(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN "
        "pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' "
        "WHERE n.nspname = 'responsa' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> 'audit_event'"
    )
    digests: Counter[str] = Counter()
    for (table,) in tables:
        digests.update(
            f"{table} {digest}"
            for (digest,) in served.harness.ask(
                f"SELECT md5((to_jsonb(t) - 'last_use_time')::text) FROM responsa.{table} AS t WHERE tenant_id = 'acme'"
            )
        )
    own = [user.partition("/")[2] for user in users]
    for (digest,) in served.harness.ask(
        "SELECT md5((to_jsonb(t) - 'last_use_time')::text) FROM responsa.app_user AS t WHERE tenant_id = 'acme' AND id::text <> ALL (%s)",
        own,
    ):
        del digests[f"app_user {digest}"]
    assert len(digests) > 20 * EACH
    return digests


def named_in_vain(stranger: Stranger, attempt: Try) -> bool:
    """Whether a request of a user of the victim's tenant names a user, and the reply must not depend on it."""
    return (
        stranger.hidden_but == SHARED
        and attempt.resource_type in SHARED
        and (attempt.method, attempt.field) not in NAMING
    )


@pytest.fixture
def widgets() -> dict[UUID, frozenset[str]]:
    """The origins of each key of a widget."""
    return {}


@pytest.fixture
async def served(serve: Serve, widgets: dict[UUID, frozenset[str]]) -> AsyncGenerator[Served, None]:
    async with serve(widgets=widgets) as made:
        yield made


@forms(short=500, long=1_000_000)
async def test_strangers_learn_nothing_and_change_nothing(
    served: Served,
    database: Database,
    widgets: dict[UUID, frozenset[str]],
    folder: Path,
    form: Form,
    request: pytest.FixtureRequest,
) -> None:
    victim = await victims(served)
    everybody = await strangers(served, database, widgets)
    async with doors(served, folder, [ORIGIN]) as through:
        await check(served, victim, everybody, through, form, request)
        await check_share(victim, everybody, through)
        await check_shapes(served, victim, through)


async def check(
    served: Served,
    victim: Mapping[str, Sequence[str]],
    everybody: Sequence[Stranger],
    through: Doors,
    form: Form,
    request: pytest.FixtureRequest,
) -> None:
    contract = list(tries(victim))
    requests = [*contract, *(other for one in contract for other in over_rest(one)), *elsewhere(victim)]
    before = rows(served, victim["responsa.example.org/User"])
    nobody = next(who for who in everybody if who.reason == "CREDENTIAL_MISSING")
    ungranted: set[str] = set()
    report, made = Report("strangers", form), set[str]()
    leaks: list[str] = []
    # The tenant's id stands in many replies, and is too short to look for.
    known = SHARED | PUBLIC_TYPES | {"responsa.example.org/Tenant"}
    private = [one for kind, ids in victim.items() if kind not in known for one in ids]
    everything = [*private, *(one for kind in SHARED for one in victim[kind])]
    marks = {
        hidden: [*(mark.partition("/")[2].encode() for mark in ids), *(word.encode() for word in words)]
        for hidden, ids, words in (
            (frozenset[str](), everything, (CANARY, SHARED_CANARY)),
            (SHARED, private, (CANARY,)),
            (ADMINISTERED, [], (CANARY, SHARED_CANARY)),
        )
    }

    # The audit log of a stranger's tenant has the names that its administrators gave in vain.
    logged = [one.name.encode() for one in requests if RULES[one.method] in (Rule.ADMIN, Rule.OWNER)]

    async def attempt(stranger: Stranger, tried: Try) -> None:
        reply = await through.reply(tried.door, stranger.headers, tried.method, tried.request, tried.name)
        twin = reply
        if tried.field:
            twin = await through.reply(
                tried.door,
                stranger.headers,
                tried.method,
                tried.twin,
                tried.missing,
            )
        made.add(tried.method)
        report.count("calls", 1 + bool(tried.field))
        report.count(tried.door, 1 + bool(tried.field))
        case = f"{stranger.name}: {tried.method} over {tried.door} with {tried.field or 'nothing'} = {tried.name}"
        public = RULES[tried.method] is Rule.PUBLIC
        if reply.reason == "GRANT_REQUIRED" and tried.door == "grpc":
            ungranted.add(reply.text)
        # A path has a place for names of its own kind alone.
        unrouted = (
            tried.door == "rest" and reply.reason == "ROUTE_NOT_FOUND" and not (tried.fits and tried.field)
        )
        # MCP and A2A read no cookies.
        reasons = (
            (stranger.reason, "CREDENTIAL_MISSING") if "cookie" in stranger.headers else (stranger.reason,)
        )
        if stranger.reason and not public and reply.reason not in reasons and not unrouted:
            leaks.append(f"{case}: {reply.reason or 'OK'} instead of {stranger.reason}")
        if (reply.reason, reply.text) != (twin.reason, twin.text):
            leaks.append(f"{case}: {reply} differs from {twin}, the reply for {tried.missing}")
        if reply.reason in ("INTERNAL", "OVERLOADED", "TOO_MANY_ATTEMPTS"):
            leaks.append(f"{case}: {reply.reason}")
        # A reader that the stranger's tenant does not have makes the field invalid.
        foreign = "of this tenant; send the name of one" in reply.text
        if reply.reason == "INVALID_FIELD" and tried.fits and not public and not foreign:
            leaks.append(
                f"{case}: the sweep must send a valid request, see VALUES in sweeping.py: {reply.text}"
            )
        own = tried.name.partition("/")[2].encode()
        leaks.extend(
            f"{case}: the reply contains {mark!r}"
            for mark in marks[stranger.hidden_but]
            if mark != own
            and mark in reply.data
            and not (tried.method.endswith("/ListAuditEvents") and any(mark in name for name in logged))
        )

    firsts = {(one.door, one.method, one.field, one.resource_type): one for one in reversed(requests)}
    waiting = [
        (who, one)
        for who, one in itertools.product(everybody, requests)
        # The credential makes no difference to a public method, which counts attempts.
        if (one.resource_type not in who.hidden_but or named_in_vain(who, one))
        and one.method not in who.may
        and (RULES[one.method] is not Rule.PUBLIC or who is nobody)
        # A bad credential is refused before a name is read, so one name of each type suffices. A socket says so when it
        # closes, see tests/gateway.
        and (not who.reason or one is firsts[one.door, one.method, one.field, one.resource_type])
        and not (who.reason and one.door == "ws")
    ]
    waiting = drawn(waiting, form)
    begun = time.process_time()

    async def work() -> None:
        while waiting:
            await attempt(*waiting.pop())

    await asyncio.gather(*(work() for _ in range(8)))
    report.count("leaks", len(leaks))
    report.tell(request)
    print(f"{report.counts}, {time.process_time() - begun:.1f} s of CPU")
    assert leaks == [], f"seed {form.seed}\n" + "\n".join(leaks[:40])
    assert NAMING.keys() <= {(one.method, one.field) for one in requests}
    assert made == {one.method for one in requests}
    if form.count > TRIES:
        assert len(ungranted) == 1, ungranted
        assert report.counts["calls"] >= TRIES
    gone = before - rows(served, victim["responsa.example.org/User"])
    assert gone == Counter()
    # What administrators change without reading it comes back without its content.
    changes = [one for one in contract if one.method.endswith("/UpdateDocument") and one.field]
    assert changes
    for change in changes:
        found = await through.reply("grpc", everybody[-2].headers, change.method, change.request, change.name)
        assert (found.reason, SHARED_CANARY.encode() in found.data) == ("", False)


def drawn(waiting: Sequence[tuple[Stranger, Try]], form: Form) -> list[tuple[Stranger, Try]]:
    """As many of these tries as the form says, as evenly as possible from all methods, fields and doors, and as many
    with good credentials as with bad ones."""
    mixed = [*waiting]
    form.dice().shuffle(mixed)
    before: Counter[tuple[bool, str, str, str]] = Counter()
    place: dict[int, int] = {}
    for stranger, attempt in mixed:
        # First each method, then each field and each door of it.
        for kind in (
            (bool(stranger.reason), attempt.method, "", ""),
            (bool(stranger.reason), attempt.method, attempt.field, attempt.door),
        ):
            place[id(attempt), id(stranger)] = place.get((id(attempt), id(stranger)), 0) + before[kind]
            before[kind] += 1
    return sorted(mixed, key=lambda pair: place[id(pair[1]), id(pair[0])])[: form.count]


async def check_share(
    victim: Mapping[str, Sequence[str]], everybody: Sequence[Stranger], through: Doors
) -> None:
    """Whoever of the tenant knows the link of a share reads its question and answer, and nothing else; to all others, it does not exist."""
    method = "/responsa.chat.v1.ChatService/GetShare"
    hidden = [
        one.partition("/")[2].encode()
        for kind, ids in victim.items()
        if kind not in PUBLIC_TYPES | {"responsa.example.org/Tenant"}
        for one in ids
    ]
    for name, door, stranger in itertools.product(
        victim["responsa.example.org/Share"], ("grpc", "rest"), everybody
    ):
        request = chat.GetShareRequest(name=name).SerializeToString()
        found = await through.reply(door, stranger.headers, method, request, name)
        if method in stranger.may:
            told = [mark for mark in hidden if mark in found.data and mark != name.partition("/")[2].encode()]
            assert (found.reason, told, found.data.count(CANARY.encode())) == ("", [], 1), stranger.name
        else:
            assert found.reason == (
                stranger.reason or ("ROLE_REQUIRED" if "widget" in stranger.name else "RESOURCE_NOT_FOUND")
            )


async def check_shapes(served: Served, victim: Mapping[str, Sequence[str]], through: Doors) -> None:
    """The victim, or the administrator, gets by each shape another reply than for what does not exist, so no stranger tries it in vain."""

    def seen(reply: Reply) -> tuple[str, str, bool]:
        return reply.reason, reply.text, CANARY.encode() in reply.data

    vain: dict[str, bool] = {}
    # What is deleted is asked for first.
    for attempt in sorted(elsewhere(victim), key=lambda one: "DELETE" in one.field):
        for who in (served.bob, served.ann):
            if vain.get(attempt.field, True):
                headers = {"authorization": [f"Bearer {who.secret}"]}
                found, twin = [
                    await through.reply(attempt.door, headers, attempt.method, request, name)
                    for request, name in ((attempt.request, attempt.name), (attempt.twin, attempt.missing))
                ]
                vain[attempt.field] = seen(found) == seen(twin)
    assert {field for field, without in vain.items() if without} == VAIN.keys()
