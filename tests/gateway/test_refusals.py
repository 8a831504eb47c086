from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path

import grpc
import httpx2
import pytest

from responsa.chat.v1.chat_service_pb2 import AnswerRequest, AskRequest, AskResponse
from responsa.chat.v1.chat_service_pb2_grpc import ChatServiceStub
from tests.gateway.conftest import OTHER_ORIGIN, Place, start_place, start_server
from tests.gateway.wire import Problem, WebAnswer, at, grpc_web, of_grpc, of_rest
from tests.raising import raises

ANSWER = "/responsa.chat.v1.ChatService/Answer"
ORIGIN = "ORIGIN_NOT_ALLOWED"
JSON = {"content-type": "application/json"}


@contextmanager
def separate(web: Path, allowed_origins: tuple[str, ...] = ()) -> Generator[Place]:
    place = start_place(allowed_origins, web)
    try:
        yield place
    finally:
        place.stop()


def refused(response: httpx2.Response, status: int, code: int, reason: str) -> Problem:
    assert response.status_code == status, response.text
    problem = of_rest(response)
    assert (problem.code, problem.reason) == (code, reason)
    return problem


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"text": }', "Expecting value (line 1, column 10)."),
        (b'{"text": "a', "Unterminated string starting at"),
        (b'["a"]', "a JSON object"),
        (b'{"text": "\xff"}', "JSON in UTF-8"),
        (b"\0", "Expecting value"),
    ],
)
def test_json_that_is_none(http: httpx2.Client, content: bytes, words: str) -> None:
    for path in ("/v1/turns:answer", "/v1/turns:ask"):
        problem = refused(http.post(path, content=content, headers=JSON), 400, 3, "MALFORMED_MESSAGE")
        assert words in problem.message
        assert problem.metadata == {"message_type": "application/json"}


def refused_field(response: httpx2.Response) -> tuple[str, str]:
    """The only field that an error names, and the remedy."""
    message = refused(response, 400, 3, "INVALID_FIELD").message
    (wrong,) = response.json()["details"][1]["fieldViolations"]
    assert message == f"{wrong['field'] or 'the request'}: {wrong['description']}"
    return wrong["field"], wrong["description"]


@pytest.mark.parametrize(
    ("path", "content", "field", "remedy"),
    [
        ("turns", {"text": 5}, "text", "must be a string"),
        ("turns", {"options": {"onBusy": "NOPE"}}, "options.on_busy", "must be one of ON_BUSY_REJECT, ON_BUSY_QUEUE, ON_BUSY_INTERRUPT"),
        ("turns", {"options": {"maxCostUsdMicros": 1.5}}, "options.max_cost_usd_micros", "must be a whole number of at most 64 bits"),
        ("turns", {"options": {"scope": {"collections": ["a", 5]}}}, "options.scope.collections[1]", "must be a string"),
        ("turns", {"options": 5}, "options", "must be an object"),
        ("turns", {"options": {"parameters": [1]}}, "options.parameters", "must be an object"),
        ("turns", {"requestId": [1]}, "request_id", "must be a string"),
        ("documents", {"metadata": {"labels": {"a": "b", "c": 5}}}, 'metadata.labels["c"]', "must be a string"),
        ("documents", {"metadata": {"labels": 5}}, "metadata.labels", "must be an object"),
        ("turns", {"options": {"scope": {"collections": "a"}}}, "options.scope.collections", "must be a list"),
        ("turns", {"agnet": "agents/chat"}, "agnet", "there is no such field; did you mean agent?"),
        ("turns", {"options": {"on_bussy": 1}}, "options.on_bussy", "there is no such field; did you mean onBusy?"),
        ("turns", {"collections": ["a"]}, "collections", "there is no such field here; send it as options.scope.collections"),
        ("turns/1:cancel", {"zzz": 1}, "zzz", "there is no such field; the fields of responsa.chat.v1.CancelTurnRequest are name"),
        ("turns/1:cancel", {"name": "turns/2"}, "name", "is turns/1 in the path; leave it out of the body"),
        ("turns", {"onBusy": 1, "options": {}}, "onBusy", "there is no such field here; send it as options.onBusy"),
        (
            "turns",
            {"options": {"onBusy": 1, "on_busy": 2}},
            "options.on_busy",
            "is given twice, or together with a field that excludes it; give only one of them",
        ),
        ("turns?text=a", {}, "text", "there is no such parameter; this path takes none, so send fields in the body"),
        ("turns/1/feedback", {"rating": "up"}, "rating", "must be one of RATING_UP, RATING_DOWN"),
        ("apiKeys", {"apiKey": {"expireTime": "tomorrow"}}, "api_key.expire_time", "must be a time such as 2026-01-31T09:30:00Z"),
    ],
)  # fmt: skip
def test_a_body_with_a_wrong_type_names_the_field_and_the_remedy(
    http: httpx2.Client, path: str, content: dict[str, object], field: str, remedy: str
) -> None:
    assert refused_field(http.post(f"/v1/{path}", json=content)) == (field, remedy)
    # Without a content-length, another route matches.
    unannounced = http.post(
        f"/v1/{path}",
        content=iter([json.dumps(content).encode()]),
        headers={"content-type": "application/json"},
    )
    assert refused_field(unannounced) == (field, remedy)


def test_a_detail_whose_type_is_no_text_is_refused(http: httpx2.Client) -> None:
    content = {"error": {"details": [{"@type": {}}]}}
    refusal = http.patch("/v1/documents/00000000-0000-0000-0000-000000000000", json=content)
    assert refused_field(refusal) == ("document.error.details[0]", "must be an object")


EVENTS = {"accept": "text/event-stream"}


@pytest.mark.parametrize(
    "content",
    [
        {"text": "x", "options": {"onBusy": "ON_BUSY_QUEU"}},
        {"text": "x", "options": {"on_busy": "ON_BUSY_QUEU"}},
        {"text": 5},
        {"text": "x", "options": 5},
        {"text": "x", "includeDeltas": "maybe"},
        {"text": "x", "options": {"maxCostUsdMicros": 1.5}},
        {"text": "x", "options": {"scope": {"collections": [5]}}},
        {"text": "x", "nope": {"onBusy": "NOPE"}},
    ],
)
def test_event_streams_refuse_a_wrong_type_with_the_words_of_rest(
    http: httpx2.Client, content: dict[str, object]
) -> None:
    over_rest = http.post("/v1/turns:ask", json=content)
    over_events = http.post("/v1/turns:ask", json=content, headers=EVENTS)
    assert refused_field(over_rest) == refused_field(over_events)


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"text": "a", "options": null}', "a"),
        (b'{"text": "a", "options": {"onBusy": "ON_BUSY_QUEUE"}}', "a"),
        (b'{"text": "a", "options": {"onBusy": 2, "parameters": {"onBusy": "NOPE"}}}', "a"),
    ],
)
def test_event_streams_accept_what_rest_accepts(
    http: httpx2.Client, accept: str, content: bytes, text: str
) -> None:
    headers = {"accept": accept, "content-type": "application/json"}
    answer = http.post("/v1/turns:ask", content=content, headers=headers)
    assert answer.status_code == 200
    assert f"{text} 1" in answer.text


HOSTILE = {
    b'{"\\ud800": 1}': "?: its name contains half a character",
    b'{"b": [{"\\udfff": 1}]}': "b[0].?: its name contains half a character",
    b'{"a": "\\ud800"}': "a: contains half a character",
    b'{"b": [1, "x\\udc00"]}': "b[1]: contains half a character",
    b'{"a": 1, "a": 2}': "a: is given twice",
    b'{"b": [{"\\ud800": 1, "\\ud800": 2}]}': "?: is given twice",
    b'{"a": 1e999}': "a: must be a finite number",
    b'{"b": [NaN]}': "b[0]: must be a finite number",
    b'{"b": {"c": -Infinity}}': "b.c: must be a finite number",
    b'{"a": ' + b"9" * 309 + b"}": "a: must be a finite number",
    b'{"a": -' + b"1" * 4000 + b"}": "a: must be a finite number",
}
"""JSON that protobuf cannot hold, and what each door says of it first."""


@pytest.mark.parametrize(
    ("path", "places"),
    [
        ("/v1/auth:login", ("message", "details.0.reason")),
        ("/v1/turns", ("message", "details.0.reason")),
        ("/v1/sessions", ("message", "details.0.reason")),
        ("/auth/login", ("detail", "code")),
        ("/feedback", ("detail", "code")),
        ("/v1/chat/completions", ("error.message", "error.code")),
        ("/v1/responses", ("error.message", "error.code")),
        ("/v1/embeddings", ("error.message", "error.code")),
        ("/mcp", ("error.message", "error.data.reason")),
        ("/a2a", ("error.message", "error.data.0.reason")),
    ],
)
def test_each_door_refuses_json_that_protobuf_cannot_hold(
    http: httpx2.Client, path: str, places: Sequence[str]
) -> None:
    for content, words in HOSTILE.items():
        reply = http.post(path, content=content, headers={"content-type": "application/json"})
        assert reply.status_code == 400, (content[:40], reply.text)
        message, reason = (at(reply.json(), place) for place in places)
        assert (reason, message[: len(words)]) == ("INVALID_FIELD", words)


@pytest.mark.parametrize("path", ["/v1/turns:answer", "/v1/sessions", "/auth/login", "/v1/chat/completions", "/mcp"])  # fmt: skip
def test_a_path_of_json_answers_in_its_body_also_to_grpc_web(http: httpx2.Client, path: str) -> None:
    reply = http.post(path, content=b'{"a": 1, "a": 2}', headers={"content-type": "application/grpc-web"})
    assert (reply.status_code, reply.headers["content-type"]) == (400, "application/json")
    assert reply.json()
    assert not [name for name in reply.headers if name.startswith("grpc-")]


@pytest.mark.parametrize(
    "content",
    [
        b'{"text": ',
        b'["a"]',
        b'{"text": "\\ud800"}',
        b"[" * 2000,
        b'{"options": {"parameters": {"a": 1e999}}}',
    ],
)
def test_event_streams_refuse_json_that_is_none(http: httpx2.Client, content: bytes) -> None:
    problem = http.post("/v1/turns:ask", content=content, headers=EVENTS)
    assert problem.status_code == 400
    assert of_rest(problem).reason in ("MALFORMED_MESSAGE", "INVALID_FIELD")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/event-stream", "text/event-stream"),
        ("application/json, Text/Event-Stream; q=0.5", "text/event-stream"),
        ("text/event-stream;q=0.01", "text/event-stream"),
        ("text/event-stream;q=1, text/html;q=0", "text/event-stream"),
        ("text/event-stream;q=0", "application/x-ndjson"),
        ("application/json, text/event-stream;charset=utf-8 ; Q=0.00, text/html", "application/x-ndjson"),
        ("*/*", "application/x-ndjson"),
    ],
)
def test_a_client_that_refuses_event_streams_gets_none(http: httpx2.Client, accept: str, kind: str) -> None:
    answer = http.post("/v1/turns:ask", json={"text": "a"}, headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)


def test_a_slash_at_the_end_of_the_path_changes_no_kind_of_stream(http: httpx2.Client) -> None:
    for path in ("/v1/turns/1/events", "/v1/turns/1/events/"):
        named, remedy = refused_field(http.get(f"{path}?afterSeq=1&page=/", headers=EVENTS))
        assert (named, remedy) == (
            "page",
            "there is no such parameter; the parameters are afterSeq, includeDeltas",
        )


@pytest.mark.parametrize("last", ["-1", "x", ""])
def test_a_wrong_last_event_id_is_named(http: httpx2.Client, last: str) -> None:
    headers = {**EVENTS, "last-event-id": last}
    named, remedy = refused_field(http.get("/v1/turns/1/events?afterSeq=2", headers=headers))
    assert (named, remedy) == ("last-event-id", "must be the seq of an event: a whole number, 0 or more")


def test_event_streams_refuse_a_wrong_seq_of_the_query_with_the_words_of_rest(http: httpx2.Client) -> None:
    over_rest = http.get("/v1/turns/1/events?afterSeq=x")
    over_events = http.get("/v1/turns/1/events?afterSeq=x", headers=EVENTS)
    assert refused_field(over_rest) == refused_field(over_events)


@pytest.mark.parametrize(
    ("path", "field", "remedy"),
    [
        ("turns?pageSize=many", "page_size", "must be a whole number of at most 32 bits"),
        ("turns?nope=1", "nope", "the parameters are pageSize, pageToken, filter, orderBy"),
        ("turns?turn.name=x", "turn.name", "there is no such parameter"),
        ("turns?pageSize=1&pageSize=2", "page_size", "is given twice"),
        ("turns/1/events?afterSeq=abc", "after_seq", "must be a whole number of at most 64 bits"),
        ("turns/1/events?includeDeltas=maybe", "include_deltas", "must be true or false"),
    ],
)  # fmt: skip
def test_a_query_that_does_not_fit_names_the_field_and_the_remedy(
    http: httpx2.Client, path: str, field: str, remedy: str
) -> None:
    named, said = refused_field(http.get(f"/v1/{path}"))
    assert named == field
    assert remedy in said


def test_a_field_that_is_given_twice_is_named(http: httpx2.Client) -> None:
    content = b'{"text": "a", "options": {"onBusy": 1, "onBusy": 2}}'
    assert refused_field(http.post("/v1/turns", content=content, headers=JSON)) == (
        "onBusy",
        "is given twice; give it once",
    )


def test_all_wrong_fields_are_named_at_once(http: httpx2.Client) -> None:
    answer = http.post("/v1/turns", json={"text": 5, "agnet": "a", "options": {"scope": {"colections": []}}})
    refused(answer, 400, 3, "INVALID_FIELD")
    found = [one["field"] for one in answer.json()["details"][1]["fieldViolations"]]
    assert found == ["text", "agnet", "options.scope.colections"]


def test_a_body_where_none_belongs(http: httpx2.Client) -> None:
    answer = http.request("GET", "/v1/turns", json={"pageSize": 1})
    assert refused_field(answer)[0] == "pageSize"
    assert http.request("GET", "/v1/turns", json={}).status_code == 200


def test_the_name_in_the_body_may_repeat_that_of_the_path(http: httpx2.Client) -> None:
    answer = http.post("/v1/turns/1:verifyCitations", json={"name": "turns/1"})
    assert of_rest(answer).reason == "ROUTE_NOT_FOUND"  # the stand-in does not have the method; the body fits


def test_an_unknown_http_method_is_named_as_the_cause(place: Place) -> None:
    request = f"FROB /v1/turns HTTP/1.1\r\nHost: {place.target}\r\nConnection: close\r\n\r\n"
    answer = place.raw(request.encode())
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"its HTTP method is unknown" in answer


@pytest.mark.parametrize(
    ("headers", "content", "words"),
    [
        ({"content-type": "application/grpc-web-text"}, b"!!!!", "is not base64"),
        ({"content-type": "application/grpc-web+json"}, b"{}", "does not support the content type"),
        ({"content-type": "application/grpc-webs"}, b"{}", "does not support the content type"),
        ({"content-type": "application/grpc-web", "grpc-encoding": "snappy"}, b"", "encoding identity"),
        ({"content-type": "application/grpc-web", "grpc-timeout": "zz"}, b"", "grpc-timeout is not a timeout"),
        ({"content-type": "application/grpc-web", "grpc-timeout": "123456789S"}, b"", "grpc-timeout is not a timeout"),
        ({"content-type": "application/grpc"}, b"", "gRPC needs HTTP/2"),
        ({"content-type": "application/grpc+proto"}, b"", "gRPC needs HTTP/2"),
    ],
)  # fmt: skip
def test_what_the_library_of_grpc_would_refuse_without_a_reason(
    http: httpx2.Client, headers: dict[str, str], content: bytes, words: str
) -> None:
    trailers = http.post(ANSWER, content=content, headers=headers).headers
    problem = WebAnswer([], dict(trailers)).problem
    assert (problem.code, problem.reason) == (3, "MALFORMED_MESSAGE")
    assert words in problem.message


def test_encodings_and_timeouts_that_grpc_knows_pass(http: httpx2.Client) -> None:
    headers = {"grpc-encoding": "identity", "grpc-timeout": "30S"}
    assert grpc_web(http, ANSWER, AnswerRequest(text="a"), headers=headers).trailers["grpc-status"] == "0"


def test_a_get_on_the_path_of_a_call(http: httpx2.Client) -> None:
    kind = "application/grpc-web+proto"
    problem = WebAnswer([], dict(http.get(ANSWER, headers={"content-type": kind}).headers)).problem
    assert (problem.code, problem.reason) == (12, "ROUTE_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/nope"),
        ("GET", "/v1/"),
        ("GET", "/v2/turns"),
        ("GET", "/nope"),
        ("POST", "/"),
        ("GET", "/v1/turns:nope"),
        ("GET", "/v1/turns/1/2"),
        ("GET", "/grpc.health.v1.Health/Check"),
    ],
)
def test_what_is_not_there(http: httpx2.Client, method: str, path: str) -> None:
    refused(http.request(method, path), 404, 5, "ROUTE_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/turns:answer", "POST"),
        ("GET", "/v1/turns:answer", "POST"),
        ("PUT", "/v1/turns", "GET, HEAD, POST"),
        ("OPTIONS", "/v1/turns", "GET, HEAD, POST"),
        ("POST", "/v1/users/me", "DELETE, GET, HEAD, PATCH"),
        ("HEAD", "/v1/turns/1/events", "GET"),
        ("GET", "/v1/sessions", "DELETE, POST"),
        ("GET", "/v1/uploads", "POST, PUT"),
        ("PUT", "/v1/documents/1/versions/2/original", "GET, HEAD"),
    ],
)
def test_other_methods_of_a_path(http: httpx2.Client, method: str, path: str, allowed: str) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    if method != "HEAD":
        assert (of_rest(answer).code, of_rest(answer).reason) == (12, "ROUTE_NOT_FOUND")


def test_an_escaped_slash_stays_escaped(http: httpx2.Client) -> None:
    """The rule for names must refuse the name; otherwise another resource would be read."""
    assert http.get("/v1/turns/a%2Fb").json() == {"name": "turns/a%2Fb"}


async def test_unknown_services_over_grpc_and_grpc_web(place: Place, http: httpx2.Client) -> None:
    path = "/nope.v1.Service/Method"
    async with grpc.aio.insecure_channel(place.target) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
        raised = await raises(grpc.aio.AioRpcError, call(b""))
    assert raised.code() is grpc.StatusCode.UNIMPLEMENTED
    problem = of_grpc(raised)
    assert problem.reason == "ROUTE_NOT_FOUND"
    assert grpc_web(http, path, AnswerRequest()).problem == problem
    assert grpc_web(http, path, AnswerRequest(), text=True).problem == problem


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "localhost.:{port}"])
@pytest.mark.parametrize("path", ["/", "/v1/turns", "/assets/index-abc123.js"])
def test_hosts_that_are_not_served(http: httpx2.Client, place: Place, host: str, path: str) -> None:
    refused(http.get(path, headers={"host": host.format(port=place.port)}), 403, 7, ORIGIN)


def test_only_the_pages_of_other_hosts_are_refused(http: httpx2.Client) -> None:
    """A balancer asks for the health at an address, and a program with a credential needs no browser."""
    other = {"host": "evil.example"}
    for path in ("/health", "/health/live", "/health/ready"):
        assert http.get(path, headers=other).status_code == 200
    refused(http.get("/health/x", headers=other), 403, 7, ORIGIN)
    key = {**other, "authorization": "Bearer rsp_x"}
    assert http.get("/v1/turns", headers=key).status_code == 200
    page = {"origin": "http://evil.example", "sec-fetch-site": "same-origin"}
    refused(http.get("/v1/turns", headers={**key, **page}), 403, 7, ORIGIN)


async def test_an_authority_that_is_not_served(place: Place, http: httpx2.Client) -> None:
    options = [("grpc.default_authority", "evil.example")]
    async with grpc.aio.insecure_channel(place.target, options) as channel:
        raised = await raises(
            grpc.aio.AioRpcError, ChatServiceStub(channel).Answer(AnswerRequest(text="why"))
        )
    assert raised.code() is grpc.StatusCode.PERMISSION_DENIED
    problem = of_grpc(raised)
    assert problem.reason == ORIGIN
    assert (
        grpc_web(http, ANSWER, AnswerRequest(text="why"), headers={"host": "evil.example"}).problem == problem
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST"])
@pytest.mark.parametrize("port", [":{port}", ":1", ""])
def test_hosts_that_are_served(http: httpx2.Client, place: Place, host: str, port: str) -> None:
    assert http.get("/v1/turns", headers={"host": host + port.format(port=place.port)}).status_code == 200


def test_a_url_in_the_request_line_counts_as_host(place: Place) -> None:
    request = (
        f"GET http://evil.example/v1/turns HTTP/1.1\r\nHost: {place.target}\r\nConnection: close\r\n\r\n"
    )
    assert place.raw(request.encode()).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", OTHER_ORIGIN, "http://127.0.0.1", ""]
)
def test_pages_of_other_origins(http: httpx2.Client, origin: str) -> None:
    headers = {"origin": origin}
    refused(http.post("/v1/turns:answer", json={"text": "why"}, headers=headers), 403, 7, ORIGIN)
    refused(http.post("/v1/sessions", json={"code": "rsc_none"}, headers=headers), 403, 7, ORIGIN)
    refused(http.put("/v1/uploads?source_key=a", content=b"a", headers=headers), 403, 7, ORIGIN)
    assert grpc_web(http, ANSWER, AnswerRequest(text="why"), headers=headers).problem.reason == ORIGIN
    preflight = {**headers, "access-control-request-method": "POST"}
    answer = http.options("/v1/turns:answer", headers=preflight)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_the_own_page(http: httpx2.Client, place: Place) -> None:
    for host in ("127.0.0.1", "localhost"):
        headers = {"origin": f"http://{host}:{place.port}", "sec-fetch-site": "same-origin"}
        assert http.post("/v1/turns:answer", json={"text": "why"}, headers=headers).status_code == 200
        answer = grpc_web(http, ANSWER, AnswerRequest(text="why"), headers=headers)
        assert answer.trailers["grpc-status"] == "0"


def test_what_another_site_embeds(http: httpx2.Client) -> None:
    """Browsers send no Origin with a simple GET (for an image or a script). A page on another port of this host would
    send our cookie with such a request."""
    for site in ("cross-site", "same-site"):
        refused(http.get("/v1/turns", headers={"sec-fetch-site": site}), 403, 7, ORIGIN)
        for page in ("/", "/docs", "/widget.js"):
            assert http.get(page, headers={"sec-fetch-site": site}).status_code == 200
    assert http.get("/v1/turns", headers={"sec-fetch-site": "none"}).status_code == 200


def test_an_allowed_origin_may_call(web: Path) -> None:
    with separate(web, (OTHER_ORIGIN,)) as place, httpx2.Client(base_url=place.url) as http:
        headers = {"origin": OTHER_ORIGIN, "sec-fetch-site": "cross-site"}
        for path in (ANSWER, "/v1/turns:ask", "/v1/chat/completions", "/mcp"):
            preflight = http.options(
                path,
                headers={
                    **headers,
                    "access-control-request-method": "POST",
                    "access-control-request-headers": "authorization,content-type,idempotency-key,x-stainless-lang",
                },
            )
            assert preflight.status_code == 200
            assert preflight.headers["access-control-allow-origin"] == OTHER_ORIGIN
            # The asterisk stands for all headers but authorization, and for nothing if credentials are allowed.
            assert preflight.headers["access-control-allow-headers"] == "authorization, *"
            assert "access-control-allow-credentials" not in preflight.headers
        for path in ("/v1/turns:answer", ANSWER, ANSWER.replace("Answer", "Nothing")):
            answer = http.post(path, json={"text": "why"}, headers=headers)
            assert answer.status_code == (404 if "Nothing" in path else 200)
            assert answer.headers["access-control-allow-origin"] == OTHER_ORIGIN
            assert answer.headers["access-control-expose-headers"] == "*"
        refused(http.get("/v1/turns", headers={"origin": "http://evil.example"}), 403, 7, ORIGIN)


def test_headers_beyond_the_limits(http: httpx2.Client) -> None:
    assert http.get("/v1/users/me", headers={"x-long": "x" * 14_000}).status_code == 200
    refused(http.get("/v1/users/me", headers={"x-long": "x" * 20_000}), 400, 3, "MALFORMED_MESSAGE")
    refused(http.get("/v1/users/me", headers={f"x-{n}": "x" for n in range(80)}), 400, 3, "MALFORMED_MESSAGE")
    assert http.get("/v1/users/me", headers={"x_underscore": "x"}).status_code == 200


def test_bodies_beyond_the_limits(http: httpx2.Client) -> None:
    assert http.post("/v1/documents", json={"text": "x" * 1_048_576}).json() == {"name": "operations/1048576"}
    large = {"text": "x" * 4_200_000}
    problem = refused(http.post("/v1/documents", json=large), 400, 3, "DOCUMENT_TOO_LARGE")
    assert problem.metadata == {"limit_bytes": "4194304"}
    refused(http.post("/v1/turns:answer", json=large), 400, 3, "MALFORMED_MESSAGE")


ANNOUNCED = {
    "/v1/turns:answer": 64,
    "/v1/conversations?pageSize=1": 64,
    "/v1/passages:search": 256,
    "/v1/passages:batchSearch": 256,
}
UNANNOUNCED = {"/v1/turns:ask": 64, "/v1/turns/1:cancel": 64, "/v1/documents": 64, "/v1/passages:search": 64}


def post(http: httpx2.Client, path: str, size: int, *, announced: bool) -> httpx2.Response:
    """POST a body of `size` bytes, with or without a content-length."""
    body = json.dumps({"text": "x" * (size - 12)}).encode()
    assert len(body) == size
    content = body if announced else iter((body[:100], body[100:]))
    return http.post(path, content=content, headers={"content-type": "application/json"})


@pytest.mark.parametrize(
    ("path", "kib", "announced"),
    [
        *((path, kib, True) for path, kib in ANNOUNCED.items()),
        *((path, kib, False) for path, kib in UNANNOUNCED.items()),
    ],
)
def test_a_body_of_the_largest_size_passes_and_a_larger_one_is_refused_with_this_size(
    http: httpx2.Client, path: str, kib: int, announced: bool
) -> None:
    # The stand-in lacks some of these methods, but Envoy passes the body on.
    assert "is larger than" not in post(http, path, kib * 1024, announced=announced).text
    problem = refused(
        post(http, path, kib * 1024 + 1, announced=announced), 400, 3, "MALFORMED_MESSAGE"
    ).message
    larger = path in ("/v1/documents", "/v1/passages:search")
    expected = " and has no content-length; send its length." if larger and not announced else "."
    assert problem == f"The body is larger than {kib} KiB{expected}"


@pytest.mark.parametrize("announced", [True, False])
def test_sign_ins_beyond_their_limit(http: httpx2.Client, announced: bool) -> None:
    answer = post(http, "/v1/sessions", 16_385, announced=announced)
    assert refused(answer, 400, 3, "MALFORMED_MESSAGE").message == "The body is larger than 16 KiB."


@pytest.mark.parametrize("path", ["/responsa.auth.v1.AuthService/Login", "/grpc.health.v1.Health/Check"])
def test_small_messages_beyond_their_limit_over_grpc_web(http: httpx2.Client, path: str) -> None:
    problem = grpc_web(http, path, AnswerRequest(text="x" * 16_385)).problem
    assert (problem.reason, problem.message) == ("MALFORMED_MESSAGE", "The body is larger than 16 KiB.")


def test_messages_over_grpc_web_have_no_limit_of_envoy(http: httpx2.Client) -> None:
    assert grpc_web(http, ANSWER, AnswerRequest(text="x" * 300_000)).trailers["grpc-status"] == "0"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
    ids=["no host", "smuggling", "HTTP/0.9", "TLS"],
)
def test_what_is_no_http(place: Place, request_bytes: bytes) -> None:
    assert place.raw(request_bytes).startswith((b"HTTP/1.1 400", b"HTTP/1.0 400", b"HTTP/1.1 426"))


@pytest.mark.parametrize(
    "codings",
    [
        ["chunked", "identity"],
        ["chunked", "chunked"],
        ["chunked, chunked"],
        ["gzip, chunked"],
        ["gzip", "chunked"],
        ["chunked, gzip"],
        ["identity"],
        ["chunked;x=1"],
        ["xchunked"],
        [""],
    ],
)
def test_a_transfer_encoding_other_than_chunked_alone_is_named_as_the_cause(
    place: Place, codings: Sequence[str]
) -> None:
    fields = "".join(f"Transfer-Encoding: {coding}\r\n" for coding in codings)
    for path in ("/v1/turns:answer", "/v1/uploads?source_key=a.md", "/chat/question", "/mcp", "/ws/chat"):
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{place.port}\r\nContent-Type: application/json\r\n{fields}\r\n"
        with socket.create_connection(("127.0.0.1", place.port), timeout=20) as connection:
            connection.sendall(f"{head}2\r\n{{}}\r\n0\r\n\r\n".encode())
            answer = HTTPResponse(connection)
            answer.begin()
            assert (answer.status, b"transfer-encoding" in answer.read()) == (400, True), path


def test_http_1_0_is_named_as_the_cause(place: Place) -> None:
    answer = place.raw(f"GET /v1/agents HTTP/1.0\r\nHost: 127.0.0.1:{place.port}\r\n\r\n".encode())
    assert b" 400 " in answer.partition(b"\r\n")[0]
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert body["details"][0]["reason"] == "MALFORMED_MESSAGE"
    assert "HTTP/1.0; send HTTP/1.1" in body["message"]


@pytest.mark.parametrize(
    "path", ["/v1/turns:answer", "/v1/turns:ask", "/v1/documents", "/v1/passages:search"]
)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_compressed_body_is_named_as_the_cause(http: httpx2.Client, path: str, accept: str) -> None:
    packed = gzip.compress(b'{"text": "Who?"}')
    answer = http.post(path, content=packed, headers={"content-encoding": "gzip", "accept": accept})
    problem = refused(answer, 415, 3, "MALFORMED_MESSAGE")
    assert problem.message.endswith("send the body without content-encoding.")
    assert answer.headers["accept-encoding"] == "identity"


def test_a_body_whose_encoding_changes_nothing_passes(http: httpx2.Client) -> None:
    headers = {**JSON, "content-encoding": "identity", "authorization": "Bearer rsp_x"}
    answer = http.post("/v1/turns:answer", content=b'{"text": "Who?"}', headers=headers)
    assert answer.status_code == 200, answer.text


async def test_a_killed_server_and_its_successor(web: Path) -> None:
    with separate(web) as place:
        client = httpx2.Client(base_url=place.url)
        channel = grpc.aio.insecure_channel(place.target, [("grpc.use_local_subchannel_pool", 1)])
        with client as http:
            stub = ChatServiceStub(channel)
            following = stub.Ask(AskRequest(text="hang"))
            first = await following.read()
            assert isinstance(first, AskResponse)
            place.server.kill()
            place.server.wait()
            # A stream that is cut in the middle does not end with a status of our server. The client thus knows
            # that it must resume.
            raised = await raises(grpc.aio.AioRpcError, following.read())
            assert raised.code() in (
                grpc.StatusCode.INTERNAL,
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.UNKNOWN,
                grpc.StatusCode.CANCELLED,
            )
            raised = await raises(grpc.aio.AioRpcError, stub.Answer(AnswerRequest(text="why")))
            problem = of_grpc(raised)
            assert (problem.code, problem.reason, problem.metadata) == (
                14,
                "PART_UNAVAILABLE",
                {"part": "server"},
            )
            assert grpc_web(http, ANSWER, AnswerRequest(text="why")).problem == problem
            for method, path in (
                ("POST", "/v1/turns:answer"),
                ("GET", "/v1/turns"),
                ("GET", "/"),
                ("POST", "/v1/sessions"),
            ):
                answer = http.request(method, path, json={"text": "why"} if method == "POST" else None)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
                assert of_rest(answer) == problem
            openai, detail = "error.code", "code"
            for path, where in (
                ("/v1/chat/completions?x=1", openai),
                ("/mcp", "error.data.reason"),
                ("/a2a/chat", "error.data.0.reason"),
                ("/chat/question", detail),
            ):
                answer = http.post(path, json={})
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
                assert at(answer.json(), where) == "PART_UNAVAILABLE", path
            if place.server.stdout is not None:
                place.server.stdout.close()
            place.server = start_server(place.folder, place.port)
            assert http.get("/v1/turns").status_code == 200
            assert http.get("/").status_code == 200
            assert (await stub.Answer(AnswerRequest(text="why"))).text == "why"
        await channel.close()
