"""The authorisation server: people connect programs, such as assistants, to their accounts (OAuth 2.1 with PKCE, as MCP
profiles it; docs/adr/0107).

A connection is a session of the kind that has refresh tokens. Its first refresh token is the authorisation code, so a
code that is used twice ends the session as a refresh token does that is used twice.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, cast
from urllib.parse import SplitResult, quote, urlencode, urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

import httpx2
from pydantic import BaseModel, Field, ValidationError, model_validator

from responsa_server.domain.accounts import Connection, Proof
from responsa_server.domain.addresses import network_of
from responsa_server.domain.errors import (
    Exhausted,
    InvalidRequest,
    NotFound,
    NotPermitted,
    Reason,
)
from responsa_server.domain.formatting import plain_name
from responsa_server.domain.limits import check_attempt
from responsa_server.domain.people import Origin, Principal, Role
from responsa_server.domain.programs import RESOURCES
from responsa_server.domain.rows import Row
from responsa_server.identity.accounts import Accounts, SignedIn
from responsa_server.identity.credentials import SecretKind
from responsa_server.identity.program_settings import ProgramSettings
from responsa_server.identity.tokens import Secret
from responsa_server.outbound.addresses import read_allowed
from responsa_server.outbound.connector import Connector, Outgoing, ReachableHosts, Times
from responsa_server.stores.postgres.resources import ResourceStore

KNOWN_REDIRECTS: Final[Mapping[str, str]] = {
    "https://claude.ai/api/mcp/auth_callback": "Claude (support.claude.com, custom connectors)",
    "https://claude.com/api/mcp/auth_callback": "Claude (support.claude.com, custom connectors)",
    "https://chatgpt.com/connector_platform_oauth_redirect": "ChatGPT (developers.openai.com, apps SDK)",
    "https://vscode.dev/redirect": "VS Code (microsoft/vscode, fetchDynamicRegistration)",
    "https://insiders.vscode.dev/redirect": "VS Code (microsoft/vscode, fetchDynamicRegistration)",
    "https://www.cursor.com/agents/mcp/oauth/callback": "Cursor (cursor.com/docs, MCP)",
    "cursor://anysphere.cursor-mcp/oauth/callback": "Cursor (cursor.com/docs, MCP)",
}
"""The addresses to which hosts of MCP send people back, of those that are not on the loopback, checked on 2026-11-29, each with
its host and the source. Each counts as a whole. A scheme without a period departs from RFC 8252, 8.4."""


MAX_DOCUMENT: Final = 16_384
"""The largest metadata of a client, in bytes, in a document and in a registration."""
MAX_URI: Final = 1024
MAX_STATE: Final = 1024
HELD_SECONDS: Final = 600
"""How long a request for authorisation waits for the person."""
MAX_COOKIE: Final = 4096 - 64
"""The longest cookie that browsers keep has 4,096 bytes with its name."""
MAX_REDIRECTS: Final = 10
MAX_NAME_BYTES: Final = 200
MAX_CLIENT_ID: Final = 2048
ODD_MARKS: Final = (
    "has combining marks that do not join their letter, which could change what people read; leave them out"
)
REDIRECTS: Final = (
    "an https address without a fragment, an http address of 127.0.0.1, [::1] or localhost, or an address of a "
    "scheme with a period, such as com.example.app:/back"
)
_KNOWN: Final = (
    "an http address of 127.0.0.1, [::1] or localhost, or an address that this server knows; an owner of the "
    "installation can allow it on the page (Administration, Programs)"
)
REGISTRATIONS_PER_HOUR: Final = 200
REFUSED_PER_HOUR: Final = 20
"""How many programs may register themselves from one network address, and how many tries of others are answered with a reason."""

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VISIBLE: Final = re.compile(r"[!-~]{1,2048}")
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_REGISTERED: Final = "rsd_"
_REGISTRATION_SECONDS: Final = 30 * 86_400
"""For how long after its own registration a program can be connected."""
# No OpenID provider of the settings has a name with a space.
_SEALED_FOR: Final = "dynamic registration"
_HELD_FOR: Final = "connect request"
PROBED_HOSTS: Final = ("https://vscode.dev", "https://claude.ai")
"""Hosts of documents of programs, by which a server finds out whether it reaches public hosts."""
_PROBE_SECONDS: Final = 3600.0
_PRIVATE_USE: Final = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+:/[!-~]*")
_MOST_DOCUMENTS: Final = 256
_DOCUMENT_SECONDS: Final = 600.0
_TIMES: Final = Times(connect=3.0, all=8.0)


class Metadata(BaseModel):
    """What a program says of itself (RFC 7591), in its document or when it registers itself. Further fields are ignored."""

    client_id: str = Field(default="", max_length=MAX_CLIENT_ID)
    client_name: str = Field(default="", max_length=MAX_NAME_BYTES)
    redirect_uris: list[str] = Field(min_length=1, max_length=MAX_REDIRECTS)
    token_endpoint_auth_method: str = Field(default="none", max_length=64)

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, content: object) -> object:
        """A field that is null is absent (RFC 7591, 2)."""
        if not isinstance(content, dict):
            return content
        fields = cast("dict[str, object]", content)
        return {name: value for name, value in fields.items() if value is not None}

    def limit_to(self, redirect_uris: Sequence[str]) -> Metadata:
        """The same with some of its addresses; without a name, the program is called by the host of the first."""
        name = (self.client_name or host_of(redirect_uris[0]))[:MAX_NAME_BYTES]
        return self.model_copy(update={"client_name": name, "redirect_uris": redirect_uris})


@dataclass(frozen=True, slots=True)
class Client:
    """A program that wants to be connected. vouched: whether an administrator has registered it; otherwise its name is
    what it says of itself."""

    client_id: str
    display_name: str
    redirect_uris: Sequence[str]
    vouched: bool = False
    program_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class AuthorisationRequest:
    """A request that the user may allow. redirect_uri: where the browser goes then. state: "" without one. base: the
    address of this server."""

    client: Client
    redirect_uri: str
    state: str
    scopes: Sequence[str]
    resource: str
    code_challenge: str
    base: str

    def reply(self, **parameters: str) -> str:
        """The address to which the browser goes back, with the parameters of the reply (RFC 6749, 4.1.2) and the issuer (RFC 9207)."""
        return _reply(self.redirect_uri, self.state, self.base, parameters)


class Faulty(Exception):
    """A request whose program may be told what is wrong. uri: where the browser may go to do so."""

    def __init__(self, error: str, description: str, uri: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.uri = uri


class Programs:
    """Connects programs."""

    def __init__(
        self,
        accounts: Accounts,
        registered: ResourceStore[Row, UUID],
        secret: Secret,
        settings: ProgramSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """clock: returns seconds since 1970."""
        self._accounts = accounts
        self._registered = registered
        self._secret = secret
        self.settings = settings
        self._clock = clock
        self._connector = Connector()
        self._reach = ReachableHosts(None, read_allowed(settings.allow_private))
        self._documents: OrderedDict[str, tuple[float, Client]] = OrderedDict()
        self._fetching: set[UUID] = set()
        self._egress = False
        self._next_probe = 0.0

    @property
    def unused_days(self) -> int:
        """After how many days without use a connection ends."""
        return round(self._accounts.refresh_seconds / 86_400)

    def hold(self, fields: Mapping[str, str]) -> tuple[str, str]:
        """Keep a request for authorisation in the browser while the person signs in. Returns its id, of 128 random bits,
        and the value of the browser's cookie; "" for a request that is too long."""
        identity = secrets.token_urlsafe(16)
        content = json.dumps([identity, self._clock(), dict(fields)], ensure_ascii=False)
        sealed = self._secret.seal_flow(_HELD_FOR, content.encode())
        return identity, sealed if len(sealed) <= MAX_COOKIE else ""

    async def resume(self, identity: str, sealed: str, *, decides: bool) -> Mapping[str, str]:
        """The parameters of a request that `hold` has kept. decides: whether the person decides now, which counts once.
        Raises InvalidRequest."""
        content = self._secret.unseal_flow(_HELD_FOR, sealed) if len(sealed) <= MAX_COOKIE else None
        if content is not None:
            known, begun, fields = json.loads(content)
            if hmac.compare_digest(known, identity) and -60 <= self._clock() - begun <= HELD_SECONDS:
                once = [(self._secret.name("connect request", identity), 1)]
                if not decides or await self._accounts.store.count_attempt(once, HELD_SECONDS) is None:
                    return fields
        raise InvalidRequest.of_field(
            "request",
            "connect_request",
            (
                f"is older than {HELD_SECONDS // 60} minutes, was decided already, is not of this browser, or "
                "is too long; begin again in the program"
            ),
        )

    async def ask(self, caller: Principal, fields: Mapping[str, str], base: str) -> AuthorisationRequest:
        """Read a request for authorisation. caller: the user, in a browser's session. fields: its parameters. base: the
        address of this server, its issuer.

        Raises:
            InvalidRequest: the program or the address to go back to is not known (INVALID_FIELD), so the browser must not go there.
            Faulty: something else is wrong.
            NotPermitted: the user is a service (ROLE_REQUIRED).
        """
        if caller.role is Role.SERVICE:
            raise NotPermitted(
                Reason.ROLE_REQUIRED,
                "A service connects no programs; use its API key.",
                {"required_role": Role.USER.name},
            )
        client = await self._client(caller, fields.get("client_id", ""))
        redirect_uri = fields.get("redirect_uri", "")
        if not any(matches(registered, redirect_uri) for registered in client.redirect_uris):
            raise InvalidRequest.of_field(
                "redirect_uri",
                "redirect_uri",
                "is not an address of this program; tell its maker, who must register exactly this address",
            )
        state = fields.get("state", "")

        def faulty(error: str, description: str) -> Faulty:
            parameters = {"error": error, "error_description": description}
            return Faulty(error, description, _reply(redirect_uri, state, base, parameters))

        if len(state) > MAX_STATE:
            state = ""
            raise faulty("invalid_request", f"state has more than {MAX_STATE} characters")
        if fields.get("response_type") != "code":
            raise faulty("unsupported_response_type", "response_type must be code")
        challenge = fields.get("code_challenge", "")
        if fields.get("code_challenge_method") != "S256" or _CHALLENGE.fullmatch(challenge) is None:
            raise faulty("invalid_request", "PKCE is required: code_challenge with the method S256")
        resource = fields.get("resource", "").removesuffix("/") or f"{base}/mcp"
        path = resource.removeprefix(base)
        if f"{base}{path}" != resource or path not in RESOURCES:
            raise faulty("invalid_target", f"resource must be one of {base} with {' or '.join(RESOURCES)}")
        # Others, such as offline_access, are left out, and the reply with the tokens says so (RFC 6749, 3.3).
        wanted = fields.get("scope", "").split() or list(RESOURCES[path])
        scopes = [scope for scope in RESOURCES[path] if scope in wanted]
        if not scopes:
            raise faulty(
                "invalid_scope",
                f"the scopes of {path} are {' '.join(RESOURCES[path])}, not {wanted[0][:32]!r}",
            )
        return AuthorisationRequest(client, redirect_uri, state, scopes, resource, challenge, base)

    async def connect(self, caller: Principal, authorisation: AuthorisationRequest, origin: Origin) -> str:
        """Connect a program that the user has allowed. Returns the address to which the browser goes back, with the authorisation code."""
        client = authorisation.client
        connection = Connection(
            client.client_id,
            client.display_name,
            authorisation.redirect_uri,
            authorisation.scopes,
            authorisation.resource,
            client.program_id,
        )
        code = await self._accounts.begin_connection(caller, connection, authorisation.code_challenge, origin)
        return authorisation.reply(code=code)

    async def exchange(self, fields: Mapping[str, str], origin: Origin) -> SignedIn:
        """Exchange an authorisation code or a refresh token of a program for tokens. fields: the parameters of RFC 6749,
        4.1.3 and 6. Raises InvalidRequest (a parameter is missing), Unauthenticated (TOKEN_INVALID)."""
        code = fields.get("grant_type") == "authorization_code"
        needed = (
            ("client_id", "code", "redirect_uri", "code_verifier") if code else ("client_id", "refresh_token")
        )
        for name in needed:
            if not fields.get(name):
                raise InvalidRequest.of_field(name, "required", "must be given")
        verifier = fields["code_verifier"] if code else ""
        if code and _VERIFIER.fullmatch(verifier) is None:
            raise InvalidRequest.of_field("code_verifier", "code_verifier", "must be as in RFC 7636, 4.1")
        resource = fields.get("resource", "").removesuffix("/") or None
        proof = Proof(
            fields["client_id"],
            fields["redirect_uri"] if code else None,
            _base64(hashlib.sha256(verifier.encode()).digest()) if code else None,
            resource,
        )
        token = fields["code" if code else "refresh_token"]
        kind = SecretKind.PROGRAM_CODE if code else SecretKind.PROGRAM_TOKEN
        return await self._accounts.refresh(token, None, origin, proof, kind)

    async def revoke(self, token: str, origin: Origin) -> None:
        """End the session of a program's refresh token (RFC 7009). Does nothing for other tokens."""
        await self._accounts.logout(token, origin, SecretKind.PROGRAM_TOKEN)

    async def register(self, body: bytes, origin: Origin) -> tuple[Metadata, int]:
        """Register a program that asks for it itself (RFC 7591). Nothing is stored: the client_id contains what the
        program has said, encrypted. Returns the metadata in effect, and the time, in whole seconds since 1970.

        Raises InvalidRequest, and Exhausted (TOO_MANY_ATTEMPTS).
        """
        now, offered = int(self._clock()), None
        try:
            offered = _metadata(body)
            usable = await self._registrable(offered.redirect_uris)
            if not usable:
                raise InvalidRequest.of_field("redirect_uris", "redirect_uri", f"must have {_KNOWN}")
        except InvalidRequest:
            await self._count("refused registration", REFUSED_PER_HOUR, origin)
            if offered is not None:
                asked = offered.limit_to(offered.redirect_uris)
                network = self._secret.name("refused registration", network_of(origin.address))
                await self._accounts.store.ask_for_redirects(asked.client_name, asked.redirect_uris, network)
            raise
        metadata = offered.limit_to(usable)
        end = now + _REGISTRATION_SECONDS
        content = json.dumps([metadata.client_name, metadata.redirect_uris, end])
        client_id = _REGISTERED + self._secret.seal_flow(_SEALED_FOR, content.encode())
        if len(client_id) > MAX_CLIENT_ID:
            raise InvalidRequest.of_field("redirect_uris", "max_bytes", "are too long; register fewer")
        await self._count("dynamic registration", REGISTRATIONS_PER_HOUR, origin)
        return metadata.model_copy(update={"client_id": client_id}), now

    async def _count(self, what: str, limit: int, origin: Origin) -> None:
        """Count a registration from an address. Raises Exhausted if there are too many in an hour."""
        if network := network_of(origin.address):
            counted = [(self._secret.name(what, network), limit)]
            check_attempt(
                await self._accounts.store.count_attempt(counted, 3600.0),
                "Too many programs have registered themselves from this address; try again later, or ask an "
                "administrator to register the program.",
            )

    async def _client(self, caller: Principal, client_id: str) -> Client:
        """The program with a client_id. Raises InvalidRequest."""
        document = client_id.startswith("https://")
        if document or _UUID.fullmatch(client_id):
            identity = id_of_document(caller.tenant_id, client_id) if document else UUID(client_id)
            with contextlib.suppress(NotFound):
                program = await self._registered.get(caller, identity)
                return Client(
                    client_id, program.display_name, program.redirect_uris, vouched=True, program_id=identity
                )
        if client_id.startswith(_REGISTERED) and self.settings.dynamic_registration != "none":
            return await self._self_registered(client_id)
        if document and self.settings.documents:
            return await self._read_document(caller, client_id)
        raise _unknown()

    async def _self_registered(self, client_id: str) -> Client:
        sealed = client_id.removeprefix(_REGISTERED)
        content = self._secret.unseal_flow(_SEALED_FOR, sealed) if len(client_id) <= MAX_CLIENT_ID else None
        if content is None:
            raise _unknown()
        name, redirect_uris, end = json.loads(content)
        if end < self._clock():
            raise InvalidRequest.of_field(
                "client_id", "client_id", "has expired; the program must register itself again"
            )
        # What is allowed may have become narrower since.
        return Client(client_id, name, await self._registrable(redirect_uris))

    async def _registrable(self, uris: Sequence[str]) -> Sequence[str]:
        """Those of these addresses to which a program that registers itself may send people back."""
        if self.settings.dynamic_registration == "any":
            return uris
        others = [uri for uri in uris if uri not in KNOWN_REDIRECTS and not _is_plain_loopback(uri)]
        allowed = await self._accounts.store.find_allowed_redirects(others) if others else ()
        return [uri for uri in uris if uri not in others or uri in allowed]

    async def documents_work(self) -> bool:
        """Whether documents of programs can be fetched: the settings name where they are, or this server reaches a
        public host. Asked of the network with the first question, and again an hour after it had none."""
        if not self.settings.documents or self.settings.allow_private:
            return self.settings.documents
        if not self._egress and self._clock() >= self._next_probe:
            self._next_probe = self._clock() + _PROBE_SECONDS
            self._egress = await reaches_public_hosts(self._connector)
        return self._egress

    async def _read_document(self, caller: Principal, client_id: str) -> Client:
        """The program with a Client ID Metadata Document (draft-ietf-oauth-client-id-metadata-document), which is kept
        for ten minutes. A user has one fetched at a time."""
        if not is_document(client_id):
            raise _unknown()
        cached = self._documents.get(client_id)
        if cached is not None and cached[0] > self._clock():
            return cached[1]
        if caller.user_id in self._fetching:
            raise Exhausted(
                Reason.OVERLOADED,
                "The document of another program is being fetched for you.",
                retry_after=1.0,
            )
        self._fetching.add(caller.user_id)
        try:
            request = Outgoing("GET", client_id, {"accept": "application/json"})
            reply = await self._connector.fetch(self._reach, request, _TIMES, MAX_DOCUMENT)
        except (httpx2.RequestError, TimeoutError) as error:
            raise _unread("it cannot be fetched") from error
        finally:
            self._fetching.discard(caller.user_id)
        if reply.status != 200 or not re.fullmatch(r"application/(.+\+)?json", reply.media_type):
            raise _unread("the address does not answer with JSON")
        try:
            metadata = _metadata(reply.body)
        except InvalidRequest as error:
            raise _unread(error.message) from error
        if metadata.client_id != client_id or metadata.token_endpoint_auth_method != "none":  # noqa: S105  no secret
            raise _unread(
                "it must have its own address as client_id, and no secret (token_endpoint_auth_method: none)"
            )
        metadata = metadata.limit_to(metadata.redirect_uris)
        client = Client(client_id, metadata.client_name, metadata.redirect_uris)
        self._documents.pop(client_id, None)
        while len(self._documents) >= _MOST_DOCUMENTS:
            self._documents.popitem(last=False)
        self._documents[client_id] = (self._clock() + _DOCUMENT_SECONDS, client)
        return client


async def reaches_public_hosts(connector: Connector) -> bool:
    """Whether one of the hosts from which documents of programs are fetched answers, whatever it says."""
    for host in PROBED_HOSTS:
        with contextlib.suppress(httpx2.RequestError, TimeoutError):
            await connector.fetch(
                ReachableHosts(None, read_allowed(())), Outgoing("HEAD", host), _TIMES, MAX_DOCUMENT
            )
            return True
    return False


def is_document(uri: str) -> bool:
    """Whether this can be the address of a Client ID Metadata Document."""
    parts = _split(uri)
    return (
        parts is not None
        and parts.scheme == "https"
        and parts.path not in ("", "/")
        and not _dotted(parts.path)
    )


def id_of_document(tenant_id: str, uri: str) -> UUID:
    """The id of the program that a tenant has registered by the address of its document."""
    return uuid5(NAMESPACE_URL, f"{tenant_id} {uri}")


def is_redirect(uri: str) -> bool:
    """Whether people may be sent back to this address: https, http of the loopback, a private-use scheme with a period
    (RFC 8252, 7.1), or one of the known addresses."""
    private = _PRIVATE_USE.fullmatch(uri) is not None and len(uri) <= MAX_URI and "#" not in uri
    return private or uri in KNOWN_REDIRECTS or _split(uri) is not None


def is_loopback_redirect(uri: str) -> bool:
    """Whether a program on the user's own machine gets what is sent to this address, whichever program that is."""
    parts = _split(uri)
    if parts is None:  # a scheme, which any program may claim
        return is_redirect(uri)
    host = parts.hostname or ""
    address = _ip(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")


def matches(registered: str, redirect_uri: str) -> bool:
    """Whether an address to go back to is a registered one: the same text, but for the port of a loopback address,
    which a program chooses anew each time (RFC 8252, 7.3)."""
    if registered == redirect_uri:
        return True
    known, other = _split(registered), _split(redirect_uri)
    if known is None or other is None or known.hostname not in _LOOPBACK or known.scheme != "http":
        return False
    return known._replace(netloc=known.hostname) == other._replace(netloc=other.hostname or "")


def host_of(uri: str) -> str:
    """The host of an address that has been checked, for people; the scheme of one without a host, such as `com.example.app:`."""
    parts = _split(uri)
    return parts.netloc if parts is not None else f"{uri.partition(':')[0]}:" if is_redirect(uri) else ""


def _is_plain_loopback(uri: str) -> bool:
    parts = _split(uri)
    return parts is not None and parts.scheme == "http"


def _split(uri: str) -> SplitResult | None:
    """The parts of an https address, or of an http address of the loopback, without a user and a fragment; None for anything else."""
    if _VISIBLE.fullmatch(uri) is None or len(uri) > MAX_CLIENT_ID or "\\" in uri:
        return None
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    http = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    host = parts.hostname or ""
    # Resolvers read a number in place of the last label as an IPv4 address, in several notations.
    last = host.rpartition(".")[2]
    odd = not last or (_NUMBER.fullmatch(last) is not None and _ip(host) is None)
    plain = http and not odd and "@" not in parts.netloc and "#" not in uri
    return parts if plain else None


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _dotted(path: str) -> bool:
    return any(part in (".", "..") for part in path.lower().replace("%2e", ".").split("/"))


def _metadata(body: bytes) -> Metadata:
    """Read what a program says of itself, without addresses that cannot be used. Raises InvalidRequest."""
    try:
        metadata = Metadata.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest.of_field(path or "body", first["type"], first["msg"]) from None
    usable = [uri for uri in metadata.redirect_uris if len(uri) <= MAX_URI and is_redirect(uri)]
    if not usable:
        raise InvalidRequest.of_field("redirect_uris", "redirect_uri", f"must have {REDIRECTS}")
    name = plain_name(metadata.client_name)
    if name is None:
        raise InvalidRequest.of_field("client_name", "marks", ODD_MARKS)
    return metadata.model_copy(update={"client_name": name, "redirect_uris": usable})


def _reply(redirect_uri: str, state: str, base: str, parameters: Mapping[str, str]) -> str:
    whole = {**parameters, **({"state": state} if state else {}), "iss": base}
    return f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{urlencode(whole, quote_via=quote)}"


def _unknown() -> InvalidRequest:
    return InvalidRequest.of_field(
        "client_id",
        "client_id",
        "is not a program that this server knows; an administrator can register it",
    )


def _unread(why: str) -> InvalidRequest:
    return InvalidRequest.of_field(
        "client_id", "client_id", f"is the address of a document that cannot be used: {why}"
    )


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
