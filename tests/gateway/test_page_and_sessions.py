from __future__ import annotations

import shutil
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from responsa_server.app.settings import SettingsError, load
from responsa_server.transports.http.page import StaticPage
from responsa_server.transports.http.security_headers import CONTENT_SECURITY_POLICY, DOCS_POLICY
from tests.gateway.conftest import Place, start_place
from tests.gateway.wire import OWN, of_rest


def cookie_of(answer: httpx2.Response) -> tuple[str, dict[str, str]]:
    value, *flags = answer.headers["set-cookie"].split("; ")
    pairs = [flag.partition("=") for flag in flags]
    return value, {name.lower(): value for name, _, value in pairs}


def test_a_code_becomes_a_session_once(http: httpx2.Client) -> None:
    answer = http.post("/v1/sessions", json={"code": "rsc_one"})
    assert answer.status_code == 200
    assert set(answer.json()) == {"expireTime"}
    value, flags = cookie_of(answer)
    assert value == "responsa_session=rss_rsc_one"
    assert 43_000 < int(flags.pop("max-age")) <= 43_200
    assert flags == {"httponly": "", "path": "/", "samesite": "strict"}
    assert answer.headers["cache-control"] == "no-store"
    again = http.post("/v1/sessions", json={"code": "rsc_one"}, headers=OWN)
    assert again.status_code == 401
    assert (of_rest(again).code, of_rest(again).reason) == (16, "SESSION_CODE_INVALID")
    assert "set-cookie" not in again.headers


def test_a_session_is_ended_whether_it_was_good_or_not(http: httpx2.Client) -> None:
    for headers in ({}, {"cookie": "responsa_session=rss_x", **OWN}):
        answer = http.delete("/v1/sessions", headers=headers)
        assert (answer.status_code, answer.json()) == (200, {})
        value, flags = cookie_of(answer)
        assert value == 'responsa_session=""'
        assert flags["max-age"] == "0"
        assert "httponly" in flags


@pytest.mark.parametrize(
    ("content", "media_type", "reason"),
    [
        (b'{"code": "rsc_two"}', "text/plain", "MALFORMED_MESSAGE"),
        (b"code=rsc_two", "application/x-www-form-urlencoded", "MALFORMED_MESSAGE"),
        (b'{"code": ', "application/json", "MALFORMED_MESSAGE"),
        (b"\xff", "application/json", "MALFORMED_MESSAGE"),
        (b"[" * 4000, "application/json", "MALFORMED_MESSAGE"),
        (b'{"code": "' + b"x" * 5000 + b'"}', "application/json", "MALFORMED_MESSAGE"),
        (b"{}", "application/json", "INVALID_FIELD"),
        (b'["rsc_two"]', "application/json", "MALFORMED_MESSAGE"),
        (b'{"code": 5}', "application/json", "INVALID_FIELD"),
        (b'{"code": ""}', "application/json", "INVALID_FIELD"),
        (b'{"code": "rsc_two", "replace": "yes"}', "application/json", "INVALID_FIELD"),
    ],
)
def test_what_is_no_code(http: httpx2.Client, content: bytes, media_type: str, reason: str) -> None:
    answer = http.post("/v1/sessions", content=content, headers={"content-type": media_type})
    assert answer.status_code == 400
    assert of_rest(answer).reason == reason


def test_a_request_that_is_too_long_names_the_remedy(http: httpx2.Client) -> None:
    answer = http.post("/v1/sessions", json={"email": "x" * 5000, "password": "x"})
    assert "pasted into a field" in of_rest(answer).message


def test_an_unexpected_error_tells_nothing_but_the_call(http: httpx2.Client) -> None:
    answer = http.delete("/v1/sessions", headers={"cookie": "responsa_session=rss_trouble", **OWN})
    assert answer.status_code == 500
    problem = of_rest(answer)
    assert problem.reason == "INTERNAL"
    assert problem.metadata == {"call_id": answer.headers["x-request-id"]}
    assert problem.message == "Something went wrong. Please try again."
    assert "secret" not in answer.text


def test_the_page_and_its_headers(http: httpx2.Client) -> None:
    for path in ("/", "/index.html"):
        page = http.get(path)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["cache-control"] == "no-store"
    assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cross-origin-opener-policy"] == "same-origin"
    assert page.headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in page.headers["permissions-policy"]
    assert page.headers["server"] == "responsa"
    docs = http.get("/docs")
    assert docs.headers["content-type"] == "text/html; charset=utf-8"
    assert docs.headers["content-security-policy"] == DOCS_POLICY
    script = http.get("/assets/index-abc123.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert script.text == "export {};\n"
    widget = http.get("/widget.js")
    assert widget.headers["cross-origin-resource-policy"] == "cross-origin"
    assert widget.headers["cache-control"] == "no-cache"
    icon = http.get("/favicon.svg")
    assert icon.headers["content-type"] == "image/svg+xml"
    assert icon.headers["cache-control"] == "no-cache"
    head = http.head("/")
    assert (head.status_code, head.content) == (200, b"")


def test_a_script_has_the_smallest_copy_that_the_browser_accepts(http: httpx2.Client, web: Path) -> None:
    path, sent = "/assets/index-abc123.js", dict[str, str]()
    for accepts, encoding in {
        "gzip, deflate, br, zstd": "br",
        "br;q=0.5, gzip;q=0.9": "gzip",
        "br;q=0, gzip": "gzip",
        "GZIP;Q=1.0": "gzip",
        "gzip;q=0, *": "",
        "brotli, xgzip": "",
        "": "",
    }.items():
        with http.stream("GET", path, headers={"accept-encoding": accepts}) as answer:
            body = b"".join(answer.iter_raw())
        assert answer.headers.get("content-encoding", "") == encoding, accepts
        copy = web / f"{path[1:]}{ {'br': '.br', 'gzip': '.gz', '': ''}[encoding] }"
        assert (body, answer.headers["vary"]) == (copy.read_bytes(), "accept-encoding")
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert sent.setdefault(encoding, answer.headers["etag"]) == answer.headers["etag"]
    assert len(set(sent.values())) == 3


async def test_the_page_has_the_installations_name_and_mark(tmp_path: Path) -> None:
    head = '<title>Responsa</title><link rel="icon" href="/icon.svg" type="image/svg+xml" />'
    (tmp_path / "index.html").write_text(head)
    mark = tmp_path / "acme.png"
    mark.write_bytes(b"\x89PNG")
    page = StaticPage(tmp_path, "Acme <&> Söhne", mark)
    app = Starlette(routes=[Route("/{path:path}", page.get)])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost") as client:
        shown = await client.get("/")
        assert shown.text == head.replace("Responsa", "Acme &lt;&amp;&gt; Söhne").replace("svg+xml", "png")
        assert (shown.headers["content-type"], shown.headers["cache-control"]) == (
            "text/html; charset=utf-8",
            "no-store",
        )
        icon = await client.get("/icon.svg")
        assert (icon.content, icon.headers["content-type"]) == (b"\x89PNG", "image/png")
        assert icon.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("page_name", " "), ("page_name", "a\nb"), ("page_name", "x" * 61), ("page_mark", "mark.gif"), ("page_mark", "none.svg")],
)  # fmt: skip
def test_a_name_or_a_mark_that_cannot_be_shown_is_refused(setting: str, value: str) -> None:
    with pytest.raises(SettingsError, match=setting):
        load(**{setting: value})


def test_the_policy_allows_nothing_inline_and_nothing_foreign() -> None:
    parts = [part.partition(" ") for part in CONTENT_SECURITY_POLICY.split("; ")]
    directives = {name: value for name, _, value in parts}
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == directives["connect-src"] == "'self'"
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith(DOCS_POLICY)
    for name in ("base-uri", "form-action", "frame-ancestors"):
        assert directives[name] == "'none'"


@pytest.mark.parametrize(
    "path",
    [
        "/../outside.txt",
        "/assets/../../outside.txt",
        "/assets/..%2f..%2foutside.txt",
        "/%2e%2e/outside.txt",
        "/..%5coutside.txt",
        "/.hidden.txt",
        "/assets/",
        "/assets",
        "/assets/link.txt",
        "//etc/passwd",
        "/etc/passwd",
        "/assets/%00.txt",
        "/assets/x/y.js",
        "/index.html/",
        "/conversations",
    ],
)
def test_nothing_else_of_the_disk(place: Place, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: {place.target}\r\nConnection: close\r\n\r\n"
    answer = place.raw(request.encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400")), answer
    assert b"outside" not in body
    assert b"root:" not in body


def test_a_page_that_is_not_built_says_how() -> None:
    place = start_place()
    try:
        answer = httpx2.get(place.url)
        assert answer.status_code == 503
        assert answer.headers["content-type"].startswith("text/plain")
        assert "npm run build --workspace @responsa/web" in answer.text
        (place.folder / "web").mkdir()
        (place.folder / "web" / "index.html").write_text("built")
        assert httpx2.get(place.url).text == "built"
        shutil.rmtree(place.folder / "web")
    finally:
        place.stop()
