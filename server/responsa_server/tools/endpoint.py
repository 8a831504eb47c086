"""One HTTP endpoint that a declaration names: its secrets, its calls, and the outcome of each. The kinds of tools that
speak HTTP share it."""

from __future__ import annotations

import codecs
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Annotated, Final, Literal, cast
from urllib.parse import quote

import httpx2
from pydantic import AfterValidator, Field

from responsa_server.domain.tools import (
    Declaration,
    Effect,
    ToolCall,
    ToolFault,
    ToolOutcome,
    ToolResult,
    ToolUnfit,
)
from responsa_server.outbound.addresses import (
    Allowed,
    OutboundError,
    UrlOrigin,
    is_never,
    origin_of,
    read_allowed,
)
from responsa_server.outbound.connector import (
    Connector,
    ForbiddenRequest,
    Outgoing,
    ReachableHosts,
    Reply,
    Times,
    TooLarge,
    Unreadable,
)
from responsa_server.tools.kinds import ToolContext, ToolOptions

_TRIES: Final = 3
_CONNECT_SECONDS: Final = 5.0
# A gateway may give such a status after the act, and a redirect may follow one.
_DOUBTFUL: Final = frozenset({303, 408, 502, 504})
_CHARSET: Final = re.compile(
    r"utf-8(?:-sig)?|ascii|utf-(?:16|32)(?:-[lb]e)?|iso8859-\d+|cp125\d|koi8-[ru]|shift_jis|euc_(?:jp|kr)|gb2312|gbk|gb18030|big5"
)
HTML_TYPES: Final = ("text/html", "application/xhtml+xml")
_SHOWN_BYTES: Final = 2048
_SHOWN_LOCATION: Final = 300
_LEAST_SECRET: Final = 8
_HIDDEN: Final = "[secret]"

UNREACHED: Final = "The tool could not be reached; it was not called."
REFUSED: Final = (
    "The server's rules for connections do not allow this call; it was not made. The log says why."
)
LOST: Final = (
    "The connection to the tool was lost before it answered, so it is not known whether the call took effect."
)
LOST_READING: Final = "The connection to the tool was lost before it answered."
LATE: Final = "The tool did not answer in time, so it is not known whether the call took effect."
LATE_READING: Final = "The tool did not answer in time."
LARGE: Final = "The tool's response is larger than its declaration allows."


class Auth(ToolOptions):
    """How a call authenticates itself. Exactly one of the ways; each names a secret of the declaration."""

    bearer: str = Field(default="", description="The secret after `Bearer` in the header `Authorization`.")
    header: str = Field(default="", description="The header that holds `secret`, such as `X-Api-Key`.")
    secret: str = Field(default="", description="The secret in the header `header`.")
    basic_user: str = Field(default="", description="The user's name for basic authentication.")
    basic_password: str = Field(default="", description="The secret that is the password of `basic_user`.")
    query: str = Field(
        default="", description="Not allowed, because URLs are logged. Use `bearer` or `header`."
    )


def _url(url: str) -> str:
    origin_of(url)
    return url


def _private(entry: str) -> str:
    read_allowed([entry])
    return entry


Url = Annotated[str, AfterValidator(_url)]
AllowPrivate = Annotated[
    tuple[Annotated[str, AfterValidator(_private)], ...],
    Field(
        strict=False,
        description=(
            "IP addresses, networks such as `10.1.0.0/16` and host names of the organisation's own "
            "network that the tool may reach; empty: only public addresses."
        ),
    ),
]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class ToolCredential:
    """The headers that prove a declaration's calls, and the texts in which a response could repeat their secrets."""

    headers: Mapping[str, str]
    hidden: Sequence[str]

    def __repr__(self) -> str:
        return "ToolCredential(…)"

    def hide(self, text: str) -> str:
        """Return a text of the other side without the declaration's secrets: each as it is, in JSON, as a part of a URL,
        and in Base64. Call this after each decoding."""
        for form in self.hidden:
            text = text.replace(form, _HIDDEN)
        return text

    def hide_within(self, value: object) -> object:
        """Return a JSON value of the other side without the declaration's secrets. Raises RecursionError if it is nested too deeply."""
        match value:
            case str():
                return self.hide(value)
            case list():
                return [self.hide_within(item) for item in cast("list[object]", value)]
            case dict():
                pairs = cast("dict[str, object]", value).items()
                return {self.hide(key): self.hide_within(item) for key, item in pairs}
            case _:
                return value


_ANYBODY: Final = ToolCredential({}, ())


def credential_of(auth: Auth | None, declaration: Declaration, parts: ToolContext) -> ToolCredential:
    """Return the credential of a declaration, whose secrets are read. Raises ToolUnfit."""
    secrets = {name: parts.secret_of(declaration, name) for name in declaration.secrets}
    hidden = _variants(list(secrets.values()))
    if auth is None:
        return ToolCredential({}, hidden)
    if auth.query:
        raise ToolUnfit(
            "is not allowed, because servers and proxies write URLs into their logs; use auth.bearer or auth.header",
            ("auth", "query"),
        )
    ways = [bool(auth.bearer), bool(auth.header), bool(auth.basic_user)]
    if sum(ways) != 1:
        raise ToolUnfit(
            "needs exactly one of bearer, header (with secret) and basic_user (with basic_password)",
            ("auth",),
        )

    def value(name: str, key: str) -> str:
        if name not in secrets:
            message = (
                f"names the secret “{name}”, which [secrets] does not declare; declare it there"
                if name
                else "is missing; name the secret here"
            )
            raise ToolUnfit(message, ("auth", key), unknown=name, known=list(secrets))
        secret = secrets[name]
        if not secret.isprintable() or not secret.isascii():
            message = "the secret has characters that a header cannot hold; correct it in its place"
            raise ToolUnfit(message, ("secrets", name))
        return secret

    if auth.bearer:
        return ToolCredential({"authorization": f"Bearer {value(auth.bearer, 'bearer')}"}, hidden)
    if auth.header:
        if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", auth.header):
            message = f"“{auth.header}” is not the name of a header; write a name such as X-Api-Key"
            raise ToolUnfit(message, ("auth", "header"))
        return ToolCredential({auth.header.lower(): value(auth.secret, "secret")}, hidden)
    pair = f"{auth.basic_user}:{value(auth.basic_password, 'basic_password')}"
    encoded = b64encode(pair.encode()).decode()
    return ToolCredential({"authorization": f"Basic {encoded}"}, (*hidden, encoded))


def endpoint_of(
    declaration: Declaration,
    parts: ToolContext,
    url: str,
    auth: Auth | None,
    allow_private: Sequence[str],
    effect: Effect,
) -> Endpoint:
    """Return the endpoint of a declaration. Raises ToolUnfit."""
    return Endpoint(
        parts.connector,
        url,
        allow_private=allow_private,
        credential=credential_of(auth, declaration, parts),
        effect=effect,
        limit=declaration.max_bytes,
    )


def reach_of(url: str, allow_private: Sequence[str], credential: ToolCredential) -> ReachableHosts:
    """Return what a declaration may reach: the origin of its URL. Raises ToolUnfit, also if no call could reach the address."""
    try:
        origin = origin_of(url)
        allowed = read_allowed(allow_private)
    except OutboundError as error:
        raise ToolUnfit(str(error), ("url",)) from error
    _check_address(origin, allowed)
    if credential.headers and origin.scheme == "http" and not allow_private:
        message = "a secret needs an https address, unless the host is named in allow_private"
        raise ToolUnfit(message, ("url",))
    return ReachableHosts(frozenset([origin]), allowed)


def _check_address(origin: UrlOrigin, allowed: Allowed) -> None:
    """Raises ToolUnfit if the address in a URL is one that the rules refuse, so that the calls would be refused. The
    addresses of names are checked with each call."""
    host = "127.0.0.1" if origin.host == "localhost" else origin.host
    try:
        address = ip_address(host)
    except ValueError:
        return
    if is_never(address):
        message = f"calls to {origin.host} are never allowed: it is a link-local, multicast or metadata address; name another host"
        raise ToolUnfit(message, ("url",))
    if not allowed.may_reach(origin.host, address):
        message = (
            f"calls to {origin.host} would be refused, because its address is not public; if it is "
            f'the organisation\'s own, write allow_private = ["{origin.host}"]'
        )
        raise ToolUnfit(message, ("url",))


class Endpoint:
    """Makes the calls of one declaration. A secret goes to the declared origins only, and never into a result."""

    def __init__(
        self,
        connector: Connector,
        url: str,
        *,
        allow_private: Sequence[str],
        credential: ToolCredential = _ANYBODY,
        effect: Effect,
        limit: int,
    ) -> None:
        """url: any URL of the origin that calls may go to. limit: the largest response, in bytes. Raises ToolUnfit."""
        self._connector = connector
        self._reach = reach_of(url, allow_private, credential)
        self._credential = credential
        self._effect = effect
        self._limit = limit

    async def call(self, outgoing: Outgoing, call: ToolCall) -> Reply | ToolResult:
        """Make a call. Returns the response if its status is 2xx, and a failure as a result otherwise.

        A call whose effect may happen twice is tried up to three times if its connection breaks off.
        """
        headers = {**outgoing.headers, "idempotency-key": call.key, **self._credential.headers}
        sent = Outgoing(outgoing.method, outgoing.url, headers, outgoing.body)
        times = Times(min(_CONNECT_SECONDS, call.seconds), call.seconds)
        for attempt in range(1 if self._effect is Effect.ONCE else _TRIES):
            try:
                reply = await self._connector.fetch(self._reach, sent, times, self._limit, call.sent)
            except ForbiddenRequest:
                if attempt:
                    break
                return ToolResult(ToolOutcome.ERROR, REFUSED, error=ToolFault.REFUSED)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if attempt:
                    break
                return ToolResult(ToolOutcome.ERROR, UNREACHED, error=ToolFault.UNREACHABLE)
            except TooLarge:
                return self._unread(LARGE, LARGE, ToolFault.TOO_LARGE)
            except (TimeoutError, httpx2.TimeoutException):
                return self._unread(LATE, LATE_READING, ToolFault.TIMEOUT)
            except Unreadable as error:
                return self._unread(str(error), str(error), ToolFault.MALFORMED)
            except httpx2.RequestError:  # no readable response; the effect may have happened
                continue
            return self._result_of(self._redact(reply))
        return self._unread(LOST, LOST_READING, ToolFault.LOST)

    def json_of(self, reply: Reply) -> object:
        """Return the JSON value of a response, without the declaration's secrets. Raises ValueError for what is not
        JSON, or what no event can carry (a number that is not finite, a half of a surrogate pair, deep nesting)."""

        def constant(name: str) -> object:
            raise ValueError(f"{name} is not a JSON value")

        try:
            value = self._credential.hide_within(json.loads(reply.body, parse_constant=constant))
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except json.JSONDecodeError as error:
            raise ValueError(_not_json(reply, error)) from error
        except (RecursionError, UnicodeError) as error:
            raise ValueError("it is not JSON that can be read") from error
        return value

    def text_of(self, reply: Reply) -> str:
        """Return the text of a response, without the declaration's secrets. Bytes that are not valid in its character set become U+FFFD."""
        return self._credential.hide(_decode(reply))

    def hide(self, text: str) -> str:
        """Return a text that was made of a response, without the declaration's secrets."""
        return self._credential.hide(text)

    def _result_of(self, reply: Reply) -> Reply | ToolResult:
        if 200 <= reply.status < 300:
            return reply
        text = self.text_of(reply).encode()[:_SHOWN_BYTES].decode(errors="ignore")
        broken = reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if 300 <= reply.status < 400 and (location := reply.headers.get("location", "")):
            where = self._credential.hide(location)[:_SHOWN_LOCATION]
            text = (
                f"the response redirects to {where}, and redirects are not followed. If this is the right "
                "address, write it into the declaration."
            )
            if self._effect is not Effect.NONE and reply.status in _DOUBTFUL:
                message = f"HTTP {reply.status}: {text} It is not known whether the call took effect."
                return ToolResult(ToolOutcome.UNKNOWN, message, error=ToolFault.STATUS)
        if self._effect is not Effect.NONE and reply.status in _DOUBTFUL:
            return ToolResult(
                ToolOutcome.UNKNOWN, f"HTTP {reply.status}. {LOST}", error=ToolFault.STATUS, broken=broken
            )
        return ToolResult(
            ToolOutcome.ERROR, f"HTTP {reply.status}: {text}", error=ToolFault.STATUS, broken=broken
        )

    def _unread(self, effective: str, reading: str, fault: ToolFault) -> ToolResult:
        """The result of a call that was sent and whose response is missing. A call without an effect is over; that of
        another one is unknown."""
        if self._effect is Effect.NONE:
            return ToolResult(ToolOutcome.ERROR, reading, error=fault)
        return ToolResult(ToolOutcome.UNKNOWN, effective, error=fault)

    def _redact(self, reply: Reply) -> Reply:
        """The response without the declaration's secrets, should the other side repeat them."""
        body, declared = reply.body, reply.headers.get("content-type", "")
        for form in self._credential.hidden:
            body = body.replace(form.encode(), _HIDDEN.encode())
        # The type is in lower case, in which no secret would be found.
        media_type = reply.media_type if self._credential.hide(declared) == declared else _HIDDEN
        return Reply(reply.status, media_type, reply.charset, reply.headers, body)


def _variants(secrets: Sequence[str]) -> Sequence[str]:
    """The forms in which a response may repeat secrets. Shorter texts than eight characters would hide ordinary words."""
    forms = {
        form
        for secret in secrets
        if len(secret) >= _LEAST_SECRET
        for form in (
            secret,
            json.dumps(secret)[1:-1],
            quote(secret, safe=""),
            b64encode(secret.encode(errors="surrogatepass")).decode().rstrip("="),
        )
    }
    return sorted(forms, key=len, reverse=True)


def _decode(reply: Reply) -> str:
    """The text of a response. Any other than the common character sets counts as UTF-8: Python also has codecs that
    need minutes, or that give halves of surrogate pairs."""
    try:
        name = codecs.lookup(reply.charset or json.detect_encoding(reply.body)).name
    except (LookupError, ValueError):
        name = ""
    return reply.body.decode(name if _CHARSET.fullmatch(name) else "utf-8", errors="replace")


def _not_json(reply: Reply, error: json.JSONDecodeError) -> str:
    body = reply.body.strip()
    if not body:
        return "it is empty, and the declaration expects JSON"
    if reply.media_type in HTML_TYPES or body.startswith(b"<"):
        return "it is a page (HTML) or XML, and the declaration expects JSON; check the address, and whether the call needs a secret"
    return f"it is not valid JSON: {error}"


def unreadable_reply(content: str, effect: Effect) -> ToolResult:
    """The result of a call whose response arrived and cannot be read."""
    outcome = ToolOutcome.ERROR if effect is Effect.NONE else ToolOutcome.UNKNOWN
    return ToolResult(outcome, content, error=ToolFault.MALFORMED)
