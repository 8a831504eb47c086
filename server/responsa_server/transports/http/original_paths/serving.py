"""Serves the rows of the table of paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import UnionType
from typing import Any, Final, cast

from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from responsa.chat.v1.chat_service_pb2 import ResumeTurnRequest, ResumeTurnResponse
from responsa.chat.v1.turn_pb2 import TurnEvent
from responsa_server.calls import status, violations
from responsa_server.calls.call import CALL_ID, Call, Complete
from responsa_server.calls.chain import Calls
from responsa_server.calls.http import call_of
from responsa_server.calls.listing import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from responsa_server.calls.methods import CHAT
from responsa_server.domain.errors import FieldViolation, InvalidRequest, NotFound, ResponsaError
from responsa_server.transports.http.original_paths import documents, people, questions, reports
from responsa_server.transports.http.original_paths.rows import PAGE_SIZE, Given, Json, OriginalRow, page_size
from responsa_server.transports.http.sessions import json_of
from responsa_server.transports.http.uploads import CLIENT_CLOSED_REQUEST, is_form, upload
from responsa_server.transports.http.uploads import METHOD as UPLOAD

ROWS: Final[Sequence[OriginalRow]] = (*people.ROWS, *documents.ROWS, *questions.ROWS, *reports.ROWS)
"""All rows."""


def original_routes(calls: Calls) -> Iterator[BaseRoute]:
    """The routes of all rows."""
    for row in ROWS:
        for path in (row.path, f"{row.path}/"):
            yield Route(path, _PathRoute(calls, row).serve, methods=list(row.methods))


_KINDS: Final[Mapping[type | UnionType, str]] = {
    str: "a text",
    int: "a whole number",
    str | int: "a text or a whole number",
    dict: "an object",
    list: "a list",
}


_MAX_SKIPPED: Final = 10_000
_RANGES: Final = {
    **dict.fromkeys(PAGE_SIZE, (1, MAX_PAGE_SIZE)),
    "skip": (0, _MAX_SKIPPED),
    "page": (1, _MAX_SKIPPED),
}


class _PathRoute:
    """Serves one row."""

    def __init__(self, calls: Calls, row: OriginalRow) -> None:
        self._calls = calls
        self._row = row

    async def serve(self, request: Request) -> Response:
        """Make the call, and shape its response or its error."""
        sends_file = self._row.form and request.method == "POST" and is_form(request)
        call = call_of(request.scope, UPLOAD if sends_file else self._row.call)
        try:
            return await (self._upload if sends_file else self._respond)(request, call)
        except Exception as error:  # the caller gets these paths' shape of INTERNAL
            return self._problem(self._calls.unforeseen(call, error), call, ())

    async def _respond(self, request: Request, call: Call) -> Response:
        row = self._row
        try:
            values = await self._read_values(request, call)
        except ResponsaError as error:
            return self._problem(error, call, [*error.violations])
        try:
            if (first := row.first) is not None:
                before = call_of(request.scope, first.call)
                value = first.value(await self._calls.answer(before, first.request(values), first.response))
                values = {**values, first.name: value}
            reply = await self._answer(request, call, values)
            if row.events:
                values = {**values, "events": await self._events(request, row.events(reply))}
        except ResponsaError as error:
            return self._problem(
                error, call, [self._here(violation, values) for violation in error.violations]
            )
        return self._success(call, row.shape(reply, values))

    async def _upload(self, request: Request, call: Call) -> Response:
        """Pass the file of a form on, with the form's fields."""
        try:
            operation = await upload(self._calls, call, request, lenient=True)
        except ResponsaError as error:
            return self._problem(
                error,
                call,
                [
                    self._here(replace(violation, field=violation.field.removeprefix("start.")), {})
                    for violation in error.violations
                ],
            )
        if operation is None:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        return self._success(call, self._row.shape(operation, {}))

    async def _answer(self, request: Request, call: Call, values: Given) -> Message:
        row = self._row
        try:
            if row.items and (skipped := _count_skipped(values)):
                return await self._skip_to_page(request, call, values, skipped)
            return await self._calls.answer(call, row.request(values), row.response)
        except NotFound:
            if (instead := row.absent(values)) is None:
                raise
            return instead

    async def _events(self, request: Request, turn: str) -> Sequence[TurnEvent]:
        """The events of a turn that has ended."""
        events: list[TurnEvent] = []

        async def keep(frame: Message | bytes) -> None:
            content = frame if isinstance(frame, bytes) else frame.SerializeToString()
            events.extend(ResumeTurnResponse.FromString(content).events)

        resumed = Complete(ResumeTurnRequest(turn=turn))
        await self._calls.serve(call_of(request.scope, CHAT + "ResumeTurn"), resumed, keep)
        return events

    async def _skip_to_page(self, request: Request, call: Call, values: Given, skipped: int) -> Message:
        """A page of a list whose entries the client counts: those before the page are read and dropped."""
        row = self._row
        listing: Any = row.request(values)
        wanted = listing.page_size
        while skipped:
            listing.page_size = min(skipped, MAX_PAGE_SIZE)
            page: Any = await self._calls.answer(call_of(request.scope, row.call), listing, row.response)
            skipped -= len(getattr(page, row.items))
            if not page.next_page_token:
                page.ClearField(row.items)
                return page
            listing.page_token = page.next_page_token
        listing.page_size = wanted
        return await self._calls.answer(call, listing, row.response)

    def _success(self, call: Call, body: Json | None) -> Response:
        row = self._row
        sent = {"cache-control": "no-store", CALL_ID: call.id}
        if body is None:
            return Response(status_code=row.code, headers=sent)
        return JSONResponse(body, status_code=row.code, headers=sent)

    async def _read_values(self, request: Request, call: Call) -> Given:
        """The values of the path, and those of the query or the body. Raises InvalidRequest."""
        row = self._row
        if request.method in ("GET", "HEAD"):
            pairs: list[tuple[str, object]] = [
                (name, _number(name, value) if row.fields.get(name) is int else value)
                for name, value in request.query_params.multi_items()
            ]
        elif row.fields:
            with self._calls.arriving(call):
                pairs = [*(await json_of(request, row.limit, optional=True)).items()]
        else:
            pairs = []
        values: dict[str, object] = {}
        for name, value in pairs:
            kind = row.fields.get(name)
            if kind is None or value is None:
                continue
            if name in values:
                raise InvalidRequest.of_field(name, "given_twice", "give it once")
            if not isinstance(value, kind) or isinstance(value, bool):
                raise InvalidRequest.of_field(name, "type", f"must be {_KINDS[kind]}")
            values[name] = value
        if len(both := [name for name in row.alternatives if name in values]) > 1:
            only = f"give only one of {' and '.join(both)}"
            raise violations.invalid([FieldViolation(name, "alternative", only) for name in both])
        return {**values, **cast("Mapping[str, object]", request.path_params)}

    def _here(self, violation: FieldViolation, values: Given) -> FieldViolation:
        """A violation of the contract's request in the names and the words of this path."""
        names = self._row.renamed.get(violation.field, (violation.field,))
        name = next((name for name in names if name in values), names[0])
        return replace(violation, field=name, description=self._row.remedies.get(name, violation.description))

    def _problem(self, error: ResponsaError, call: Call, violations: Sequence[FieldViolation]) -> Response:
        """The response for an error. violations: those of the error, in the names of this path."""
        rpc_status = status.of(error)
        body: dict[str, object] = {"detail": rpc_status.message, "code": error.reason.value}
        if error.violations:
            # The message begins with the first violation, in the words of the contract.
            first, here = error.violations[0], violations[0]
            told = f"{first.field}: {first.description}"
            if rpc_status.message.startswith(told):
                body["detail"] = f"{here.field}: {here.description}{rpc_status.message.removeprefix(told)}"
            body["errors"] = [
                {"field": violation.field, "message": violation.description}
                for violation in violations[: status.MAX_VIOLATIONS]
            ]
        headers = {"cache-control": "no-store", CALL_ID: call.id}
        if (seconds := status.retry_after(error)) is not None:
            headers["retry-after"] = seconds
        return JSONResponse(body, status_code=status.http_status(rpc_status), headers=headers)


def _number(name: str, text: str) -> int:
    lowest, highest = _RANGES[name]
    plain = text.isascii() and text.isdecimal() and len(text) <= 9
    if not plain or not lowest <= int(text) <= highest:
        raise InvalidRequest.of_field(name, "type", f"must be a whole number from {lowest} to {highest}")
    return int(text)


def _count_skipped(values: Given) -> int:
    """The number of entries before the page. Raises InvalidRequest."""
    pages = values.get("page", 1) - 1
    skipped = values.get("skip", 0) + pages * (page_size(values) or DEFAULT_PAGE_SIZE)
    if skipped > _MAX_SKIPPED:
        raise InvalidRequest.of_field(
            "page",
            "skipped",
            f"must not come after more than {_MAX_SKIPPED} entries; send next_page_token of the page before as page_token",
        )
    return skipped
