from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from urllib.parse import quote
from uuid import uuid4

import httpx2
import pytest

from tests.gateway.conftest import Place
from tests.gateway.stand_in import TURN
from tests.gateway.wire import of_rest

KEY = {"authorization": "Bearer rsp_x"}
FIVE_MB = 5_000_000


def uploads(http: httpx2.Client) -> list[str]:
    """The stand-in's report on each upload so far."""
    return [operation["name"] for operation in http.get("/v1/operations").json().get("operations", [])]


def wait_for_last(http: httpx2.Client, end: str) -> None:
    deadline = time.monotonic() + 30
    while uploads(http)[-1] != end:
        assert time.monotonic() < deadline, uploads(http)
        time.sleep(0.01)  # between two checks of the condition


def test_five_megabytes(http: httpx2.Client) -> None:
    request_id = str(uuid4())
    answer = http.put(
        "/v1/uploads",
        params={
            "collection": "collections/papers",
            "source_key": "a/ü b&c.md",
            "title": "T + T",
            "media_type": "text/markdown",
            "subject": "emp-7",
            "labels": '{"team": "ü"}',
            "metadata": '{"years": [2025]}',
            "request_id": request_id,
        },
        content=os.urandom(FIVE_MB),
        headers=KEY,
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    operation = answer.json()
    assert operation["done"] is True
    # The gateway sent twenty pieces of at most 256 KiB.
    assert operation["metadata"]["version"] == 20
    call_id = answer.headers["x-request-id"]
    assert operation["response"] == {
        "@type": "type.googleapis.com/responsa.knowledge.v1.Document",
        "collection": "collections/papers",
        "sourceKey": "a/ü b&c.md",
        "title": "T + T",
        "uri": f"Bearer rsp_x {call_id}",
        "mediaType": f"text/markdown {request_id}",
        "subject": "emp-7",
        "labels": {"team": "ü"},
        "metadata": {"years": [2025.0]},
        "sizeBytes": str(FIVE_MB),
        "passageCount": 262_144,
    }
    assert uploads(http)[-1] == f"whole-{FIVE_MB}"


def test_a_body_of_unknown_size_and_a_session(http: httpx2.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(10):
            yield b"x" * 70_000

    cookie = {"cookie": "other=1; responsa_session=rss_y"}
    answer = http.put("/v1/uploads?source_key=a.md", content=pieces(), headers=cookie)
    response = answer.json()["response"]
    assert "sizeBytes" not in response
    # The gateway removes the cookies of other servers on this host.
    assert response["uri"].startswith("responsa_session=rss_y ")
    assert uploads(http)[-1] == "whole-700000"


def test_an_empty_body_is_the_servers_to_judge(http: httpx2.Client) -> None:
    assert http.put("/v1/uploads?source_key=a.md", content=b"", headers=KEY).status_code == 200
    assert uploads(http)[-1] == "whole-0"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_breaks_off_leaves_nothing(place: Place, http: httpx2.Client, chunked: bool) -> None:
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {FIVE_MB}"
    head = f"PUT /v1/uploads?source_key=watched HTTP/1.1\r\nHost: {place.target}\r\nAuthorization: Bearer rsp_x\r\n{length}\r\n\r\n"
    part = b"x" * 1_000_000
    with socket.create_connection(("127.0.0.1", place.port)) as connection:
        connection.sendall(head.encode())
        connection.sendall(b"f4240\r\n" + part + b"\r\n" if chunked else part)
        wait_for_last(http, "receiving")
    wait_for_last(http, "broken-off")


def test_without_a_credential(http: httpx2.Client) -> None:
    answer = http.put("/v1/uploads?source_key=a.md", content=b"x" * FIVE_MB)
    assert answer.status_code == 401
    problem = of_rest(answer)
    assert (problem.code, problem.reason) == (16, "CREDENTIAL_MISSING")
    assert uploads(http)[-1] == "refused"


def test_a_refusal_that_crosses_bytes_on_their_way_is_never_lost(http: httpx2.Client) -> None:
    """With grpc.aio's own `write`, one refusal in twenty is lost."""
    for _ in range(100):
        answer = http.put("/v1/uploads?source_key=a.md", content=b"x" * 1_000_000)
        assert of_rest(answer).reason == "CREDENTIAL_MISSING"


def test_refused_by_the_server_in_the_middle(http: httpx2.Client) -> None:
    answer = http.put("/v1/uploads?source_key=unwanted", content=b"x" * FIVE_MB, headers=KEY)
    assert answer.status_code == 409
    problem = of_rest(answer)
    assert (problem.reason, problem.metadata) == ("CONVERSATION_BUSY", {"active_turn": TURN})


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_form_with_fields_around_the_file(http: httpx2.Client, method: str) -> None:
    body = os.urandom(FIVE_MB)
    form = [
        ("title", (None, "T + ü")),
        ("file", ("a ü.md", body, "text/plain; charset=windows-1250")),
        ("metadata", (None, '{"years": [2025]}')),
    ]
    answer = http.request(method, "/v1/uploads?subject=emp-7", files=form, headers=KEY)
    response = answer.json()["response"]
    assert (response["sourceKey"], response["title"], response["subject"], response["metadata"]) == (
        "a ü.md",
        "T + ü",
        "emp-7",
        {"years": [2025.0]},
    )
    assert response["mediaType"].startswith("text/plain; charset=windows-1250")
    assert response["sizeBytes"] == str(FIVE_MB)
    assert uploads(http)[-1] == f"whole-{FIVE_MB}"


def test_forms_that_do_not_fit(http: httpx2.Client) -> None:
    file = ("file", ("a.md", b"x"))
    for fields, named in (
        ([("nope", (None, "1"))], "nope"),
        ([("title", (None, "1"))] * 2, "title"),
        ([], "file"),
    ):
        form = [*fields, *([file] if named != "file" else [("title", (None, "1"))])]
        refuses(http.put("/v1/uploads", files=form, headers=KEY), named)
    refuses(http.put("/v1/uploads?title=a", files=[("title", (None, "1")), file], headers=KEY), "title")
    assert of_rest(http.put("/v1/uploads", files=[file], headers={})).reason == "CREDENTIAL_MISSING"


def test_a_client_that_breaks_off_within_a_form_leaves_nothing(place: Place, http: httpx2.Client) -> None:
    head = (
        f"POST /v1/uploads HTTP/1.1\r\nHost: {place.target}\r\nAuthorization: Bearer "
        "rsp_x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: "
        f"{FIVE_MB}\r\n\r\n"
    )
    part = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.md"\r\n\r\n' + b"x" * 1_000_000
    with socket.create_connection(("127.0.0.1", place.port)) as connection:
        connection.sendall(head.encode() + part)
        wait_for_last(http, "running")
    wait_for_last(http, "broken-off")


def test_the_character_set_of_the_header_counts(http: httpx2.Client) -> None:
    def media_type(query: str, header: str) -> str:
        answer = http.put(
            f"/v1/uploads?source_key=a{query}", content=b"x", headers={**KEY, "content-type": header}
        )
        return answer.json()["response"].get("mediaType", "").partition(" ")[0]

    assert media_type("", "text/plain;charset=windows-1250") == "text/plain;charset=windows-1250"
    assert media_type("&media_type=text/html", "text/plain;charset=windows-1250") == "text/html"
    assert media_type("", "application/x-www-form-urlencoded") in ("", media_type("", "text/plain"))


@pytest.mark.parametrize(("kind", "size"), [("text/plain", 67_108_865), ("multipart/form-data; boundary=b", 69_206_017)])  # fmt: skip
def test_too_large_is_told_before_it_is_sent(place: Place, kind: str, size: int) -> None:
    head = (
        f"PUT /v1/uploads?source_key=a.md HTTP/1.1\r\nHost: {place.target}\r\nAuthorization: "
        f"Bearer rsp_x\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n"
    )
    answer = place.raw(head.encode())
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"DOCUMENT_TOO_LARGE"' in answer
    assert b'"limit_bytes":"67108864"' in answer


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("nope=1", "nope"),
        ("source_key=a&source_key=b", "source_key"),
        ("sourceKey=a", "sourceKey"),
        ("labels=team", "labels"),
        ('labels={"team":1}', "labels"),
        ('labels={"team":"\\ud800"}', "labels"),
        ("metadata=[1]", "metadata"),
        ('metadata={"a":"\\ud800"}', "metadata"),
        (f'metadata={{"a":{"9" * 400}}}', "metadata"),
        ("metadata=" + '{"a":' * 200 + "1" + "}" * 200, "metadata"),
    ],
)
def test_parameters_that_do_not_fit(http: httpx2.Client, query: str, field: str) -> None:
    answer = http.put(f"/v1/uploads?{quote(query, safe='=&')}", content=b"x", headers=KEY)
    refuses(answer, field)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("source_key=B%E4ume.txt", "source_key"),  # Latin-1
        ("source_key=a%ED%A0%80", "source_key"),  # half of a surrogate pair
        ("source_key=a&title=%ff", "title"),
        ("source%ff=a", "source?"),
        ("source_key=&source_key=b", "source_key"),
    ],
)
def test_parameters_whose_bytes_would_be_lost(http: httpx2.Client, query: str, field: str) -> None:
    refuses(http.put(f"/v1/uploads?{query}", content=b"x", headers=KEY), field)


def test_a_replacement_character_of_the_caller_is_kept(http: httpx2.Client) -> None:
    answer = http.put("/v1/uploads?source_key=%EF%BF%BD.md", content=b"x", headers=KEY)
    assert answer.json()["response"]["sourceKey"] == "\ufffd.md"


def refuses(answer: httpx2.Response, field: str) -> None:
    assert answer.status_code == 400
    assert of_rest(answer).reason == "INVALID_FIELD"
    bad = next(detail for detail in answer.json()["details"] if detail["@type"].endswith("BadRequest"))
    assert bad["fieldViolations"][0]["field"] == field
