"""What the transports over HTTP have in common: how they make a call of a request, and read JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, cast

from responsa_server.calls.call import Call, peer_of
from responsa_server.calls.interceptors.access import metadata_of_headers
from responsa_server.calls.json_types import TWICE
from responsa_server.calls.violations import unreadable
from responsa_server.domain.errors import InvalidRequest, ResponsaError

JsonObject = dict[str, Any]

SAFE: Final = ("GET", "HEAD")
"""The HTTP methods that change nothing (RFC 9110, 9.2.1)."""

_MAX_NAME: Final = 64
_MAX_PATH: Final = 256
MOST_PARTS: Final = 50_000
"""The maximum number of values, names and brackets in a JSON text. As objects of Python, they can take fifty times the
memory of the text."""
# What is not closed ends with the text, because a search would otherwise begin again at each quotation mark.
_PARTS: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[,\[{]', re.DOTALL)
# Each whole number with fewer digits fits a double.
_MANY_DIGITS: Final = 309
_UTF8: Final = "string.utf8"
_SURROGATE: Final = "half a character (a surrogate)"


def call_of(scope: Mapping[str, Any], method: str, transport: str = "http") -> Call:
    """The call that a request makes. scope: ASGI's."""
    pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    return Call(
        method,
        metadata_of_headers(pairs),
        f"{transport} {peer_of(scope.get('client'))}",
        safe=scope["method"] in SAFE,
    )


async def limit_bytes(
    pieces: AsyncIterable[bytes], limit: int, too_large: Callable[[], ResponsaError]
) -> AsyncGenerator[bytes]:
    """The pieces of a body of at most `limit` bytes. Raises what `too_large` makes for a larger one."""
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > limit:
            raise too_large()
        yield piece


async def whole_body(pieces: AsyncIterable[bytes], limit: int, remedy: str = "") -> bytes:
    """A body of at most `limit` bytes. remedy: what to do about a larger one. Raises InvalidRequest (MALFORMED_MESSAGE)."""
    body = bytearray()
    async for piece in limit_bytes(
        pieces, limit, lambda: unreadable(f"its body has more than {limit >> 10} KiB{remedy}")
    ):
        body += piece
    return bytes(body)


async def json_body(
    headers: Mapping[str, str],
    pieces: AsyncIterable[bytes],
    limit: int,
    remedy: str = "",
    *,
    optional: bool = False,
) -> bytes:
    """A body of the content type application/json with at most `limit` bytes. remedy: what to do about a larger one.
    optional: whether there may be no body, which is then `{}`. Raises InvalidRequest (MALFORMED_MESSAGE)."""
    body = await whole_body(pieces, limit, remedy)
    if optional and not body:
        return b"{}"
    check_json(headers)
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise unreadable("send the body without a content-encoding")
    return body


def is_json(headers: Mapping[str, str]) -> bool:
    """Whether a body is of the content type application/json."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def check_json(headers: Mapping[str, str]) -> None:
    """Raises InvalidRequest (MALFORMED_MESSAGE) if a body is not of the content type application/json. A form on
    another site can send text, but cannot set this content type."""
    if not is_json(headers):
        raise unreadable("the content-type must be application/json")


def json_object(
    text: bytes | str,
    wrong: Callable[[str], InvalidRequest] = unreadable,
    each: Callable[[JsonObject], None] | None = None,
) -> JsonObject:
    """The JSON object that a text is. See `json_value`."""
    content = json_value(text, wrong, each)
    if not isinstance(content, dict):
        raise wrong("it is JSON, but not an object")
    return cast("JsonObject", content)


def json_value(
    text: bytes | str,
    wrong: Callable[[str], InvalidRequest] = unreadable,
    each: Callable[[JsonObject], None] | None = None,
) -> object:
    """The JSON value that a text is, as protobuf can hold it: each name once, texts that UTF-8 can encode, and numbers
    that a double can hold. wrong: makes the error for a text that is not JSON. each: gets each object.

    Raises:
        InvalidRequest: the text is not JSON (what `wrong` makes, MALFORMED_MESSAGE), or a field has a name or a value
            that protobuf cannot hold (INVALID_FIELD).
    """

    def once_each(pairs: Sequence[tuple[str, Any]]) -> JsonObject:
        members = dict(pairs)
        if len(members) < len(pairs):
            twice = _find_repeated(name for name, _ in pairs)
            raise InvalidRequest.of_field(_cut_name(twice), TWICE, "is given twice; give it once")
        if each is not None:
            each(members)
        return members

    try:
        whole = text.decode() if isinstance(text, bytes) else text
        if len(whole) > MOST_PARTS and any(islice(_PARTS.finditer(whole), MOST_PARTS, None)):
            raise wrong(f"it has more than {MOST_PARTS:,} values and names")
        content: object = json.loads(whole, object_pairs_hook=once_each, parse_int=_whole)
        problem = _problem(content)
    except UnicodeDecodeError as error:
        raise wrong("it is not JSON in UTF-8: it has other bytes") from error
    except json.JSONDecodeError as error:
        # The reason repeats nothing of the text.
        position = f"line {error.lineno}, column {error.colno}"
        raise wrong(f"it is not JSON in UTF-8: {error.msg} ({position})") from error
    except RecursionError as error:
        raise wrong("it is nested too deeply") from error
    if problem is not None:
        path, rule, remedy = problem
        raise InvalidRequest.of_field(path.removeprefix(".")[:_MAX_PATH], rule, remedy)
    return content


def _find_repeated(names: Iterable[str]) -> str:
    """The first name that comes again; "" if there is none."""
    seen = set[str]()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""


def _whole(digits: str) -> int | float:
    """A whole number. One that may not fit a double is infinite if it does not; Python would keep it, and refuse one of
    more than 4300 digits in its own words."""
    return int(digits) if len(digits) < _MANY_DIGITS else float(digits)


def _problem(value: object) -> tuple[str, str, str] | None:
    """The path, the rule and the remedy of the first name or value that protobuf cannot hold."""
    if isinstance(value, str):
        return None if _encodable(value) else ("", _UTF8, f"contains {_SURROGATE}")
    if isinstance(value, float):
        return (
            None
            if math.isfinite(value)
            else ("", "number", "must be a finite number within the range of a double")
        )
    if isinstance(value, dict):
        for name, inner in cast("JsonObject", value).items():
            if not _encodable(name):
                return f".{_cut_name(name)}", _UTF8, f"its name contains {_SURROGATE}"
            if (problem := _problem(inner)) is not None:
                return f".{_cut_name(name)}{problem[0]}", *problem[1:]
    elif isinstance(value, list):
        for index, inner in enumerate(cast("list[object]", value)):
            if (problem := _problem(inner)) is not None:
                return f"[{index}]{problem[0]}", *problem[1:]
    return None


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _cut_name(name: str) -> str:
    return name[:_MAX_NAME].encode(errors="replace").decode()
