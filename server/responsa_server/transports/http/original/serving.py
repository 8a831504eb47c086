"""Serves the rows of the table of paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import UnionType
from typing import Final, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from responsa_server.calls import status, violations
from responsa_server.calls.call import CALL_ID, Call
from responsa_server.calls.chain import Calls
from responsa_server.calls.http import call_of
from responsa_server.calls.listing import MAX_PAGE_SIZE
from responsa_server.domain.errors import FieldViolation, InvalidRequest, ResponsaError
from responsa_server.transports.http.original import documents, people, questions, reports
from responsa_server.transports.http.original.rows import Given, Row
from responsa_server.transports.http.sessions import json_of

ROWS: Final[Sequence[Row]] = (*people.ROWS, *documents.ROWS, *questions.ROWS, *reports.ROWS)


def original_routes(calls: Calls) -> Iterator[BaseRoute]:
    """The routes of all rows."""
    for row in ROWS:
        yield Route(row.path, _Path(calls, row).serve, methods=list(row.methods))


_KINDS: Final[Mapping[type | UnionType, str]] = {
    str: "a text",
    int: "a whole number",
    str | int: "a text or a whole number",
    dict: "an object",
}


class _Path:
    """Serves one row."""

    def __init__(self, calls: Calls, row: Row) -> None:
        self._calls = calls
        self._row = row

    async def serve(self, request: Request) -> Response:
        """Make the call, and shape its response or its error."""
        call = call_of(request.scope, self._row.call)
        try:
            return await self._respond(request, call)
        except Exception as error:  # the caller gets these paths' shape of INTERNAL
            return self._problem(self._calls.unforeseen(call, error), call, ())

    async def _respond(self, request: Request, call: Call) -> Response:
        row = self._row
        try:
            given = await self._given(request, call)
        except ResponsaError as error:
            return self._problem(error, call, [*error.violations])
        try:
            if (first := row.first) is not None:
                before = call_of(request.scope, first.call)
                value = first.value(await self._calls.answer(before, first.request(given), first.response))
                given = {**given, first.name: value}
            found = await self._calls.answer(call, row.request(given), row.response)
        except ResponsaError as error:
            return self._problem(
                error, call, [self._here(violation, given) for violation in error.violations]
            )
        body = row.shape(found, given)
        sent = {"cache-control": "no-store", CALL_ID: call.id}
        if body is None:
            return Response(status_code=row.code, headers=sent)
        return JSONResponse(body, status_code=row.code, headers=sent)

    async def _given(self, request: Request, call: Call) -> Given:
        """The values of the path, and those of the query or the body. Raises InvalidRequest."""
        row = self._row
        if request.method in ("GET", "HEAD"):
            pairs: list[tuple[str, object]] = [
                (name, _number(name, value) if row.fields.get(name) is int else value)
                for name, value in request.query_params.multi_items()
            ]
        elif row.fields:
            with self._calls.arriving(call):
                pairs = [*(await json_of(request, row.most, optional=True)).items()]
        else:
            pairs = []
        found: dict[str, object] = {}
        for name, value in pairs:
            kind = row.fields.get(name)
            if kind is None or name in found:
                known = ", ".join(row.fields) or "no fields"
                raise InvalidRequest.of_field(
                    name[:64], "unknown_field", f"this path takes {known}, each once"
                )
            if not isinstance(value, kind) or isinstance(value, bool):
                raise InvalidRequest.of_field(name, "type", f"must be {_KINDS[kind]}")
            found[name] = value
        if row.alternatives and found.keys() >= set(row.alternatives):
            only = f"give only one of {' and '.join(row.alternatives)}"
            raise violations.invalid([FieldViolation(name, "alternative", only) for name in row.alternatives])
        return {**found, **cast("Mapping[str, object]", request.path_params)}

    def _here(self, one: FieldViolation, given: Given) -> FieldViolation:
        """A violation of the contract's request in the names and the words of this path."""
        names = self._row.renamed.get(one.field, (one.field,))
        name = next((name for name in names if name in given), names[0])
        return replace(one, field=name, description=self._row.remedies.get(name, one.description))

    def _problem(self, error: ResponsaError, call: Call, violations: Sequence[FieldViolation]) -> Response:
        """The response for an error. violations: those of the error, in the names of this path."""
        found = status.of(error)
        body: dict[str, object] = {"detail": found.message, "code": error.reason.value}
        if error.violations:
            # The message begins with the first violation, in the words of the contract.
            first, here = error.violations[0], violations[0]
            told = f"{first.field}: {first.description}"
            if found.message.startswith(told):
                body["detail"] = f"{here.field}: {here.description}{found.message.removeprefix(told)}"
            body["errors"] = [
                {"field": violation.field, "message": violation.description}
                for violation in violations[: status.MAX_VIOLATIONS]
            ]
        headers = {"cache-control": "no-store", CALL_ID: call.id}
        if (seconds := status.retry_after(error)) is not None:
            headers["retry-after"] = seconds
        return JSONResponse(body, status_code=status.http_status(found), headers=headers)


def _number(name: str, text: str) -> int:
    plain = text.isascii() and text.isdecimal() and len(text) <= 9
    if not plain or not 1 <= int(text) <= MAX_PAGE_SIZE:
        raise InvalidRequest.of_field(name, "type", f"must be a whole number from 1 to {MAX_PAGE_SIZE}")
    return int(text)
