"""Gives each parser that runs in the server's own process nested and long texts in a process of its own: `python parser_probes.py`.

Then fills in hostile prompts with the largest values that there are, and checks values by hostile schemas.

Prints a JSON line for each text that ended its process with a signal, or that took too much processor time or memory.
The last line has the number of shapes that each parser got, and the signals that ended the parser of templates without
its bound.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from email.errors import MessageError
from email.headerregistry import Address
from html import unescape
from pathlib import Path
from typing import cast

import httptools
import httpx2
import jwt
import minijinja
import nh3
import ormsgpack
import rtoml
from google.protobuf import json_format, struct_pb2
from google.protobuf.message import DecodeError
from protego import Protego
from python_multipart.multipart import parse_options_header
from sqlalchemy import text as sql_text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from websockets.frames import Frame, Opcode
from websockets.protocol import SERVER, Protocol
from zxcvbn_rs_py import zxcvbn

from responsa_etl.sources.mapping import ScheduleProblem, read_schedule
from responsa_server.agents.engine.calling import fits, schema_problem
from responsa_server.agents.engine.prompts import FrontMatter, Partial, PromptError, PromptSet, PromptSource
from responsa_server.calls.http import json_value
from responsa_server.domain.errors import ResponsaError
from responsa_server.text.disarming import disarm_quoted
from responsa_server.text.layout import blocks_of
from responsa_server.text.shown import QuoteOrigin, shown_blocks
from responsa_server.transports.ws.html import of_markdown
from responsa_server.transports.ws.incoming import parse
from tests.security.parsers import PARSERS, RunsIn

CPU_SECONDS = 3.0
MEMORY_BYTES = 50 << 20

Shapes = Mapping[str, Callable[[int], str]]
"""Texts of about so many bytes."""


def _nested(
    opening: str, closing: str = "", core: str = "", before: str = "", after: str = ""
) -> Callable[[int], str]:
    """The same thing within itself as often as fits."""

    def made(most: int) -> str:
        count = (most - len((before + core + after).encode())) // len((opening + closing).encode())
        return before + opening * count + core + closing * count + after

    return made


_long = _nested


JSON: Shapes = {
    "arrays": _nested("[", "]"),
    "objects": _nested('{"a":', "}", "1"),
    "unclosed": _nested("["),
    "mixed": _nested('[{"a":', "}]", "1"),
    "numbers": _long("1,", before="[", after="1]"),
    "empty_arrays": _long("[],", before="[", after="1]"),
    "empty_objects": _long("{},", before="[", after="1]"),
    "text": _long("a", before='"', after='"'),
    "escapes": _long("\\u00e4", before='"', after='"'),
    "digits": _long("9"),
}
TEMPLATES: Shapes = {
    "minus": _nested("-", core="1 }}", before="{{ "),
    "plus": _nested("+1", before="{{ 1", after=" }}"),
    "filters": _nested("|abs", before="{{ 1", after=" }}"),
    "conditions": _nested("1 if 1 else ", before="{{ ", after="1 }}"),
    "brackets": _nested("[", "]", before="{{ ", after=" }}"),
    "blocks": _nested("{% if a %}", "{% endif %}"),
    "elifs": _nested("{% elif a %}", before="{% if a %}", after="{% endif %}"),
    "attributes": _nested(".a", before="{{ a", after=" }}"),
    "values": _long("{{a}}"),
    "openings": _long("{{"),
    "spaces": _long(" ", before="{%", after="x"),
    "texts": _long("'a'", before="{{ ", after=" }}"),
}
TOML: Shapes = {
    "arrays": _nested("[", "]", before="a="),
    "tables": _nested("{a=", "}", "1", before="a="),
    "dotted": _nested("a.", core="a=1"),
    "dotted_table": _nested("a.", core="a]", before="["),
    "headers": _long("[[a]]\n"),
    "keys": lambda most: "\n".join(f"k{n}=1" for n in range(most // 9)),
    "elements": _long("1,", before="a=[", after="]"),
    "text": _long("a", before='a="', after='"'),
    "comments": _long("#\n"),
    "quotes": _long('"'),
}
MARKUP: Shapes = {
    "elements": _nested("<b>", "</b>"),
    "unclosed": _nested("<p><b>"),
    "lists": _nested("<ul><li>", "</li></ul>"),
    "tables": _nested("<table><tr><td>"),
    "attributes": lambda most: "<a " + " ".join(f"a{n}=1" for n in range(most // 9)) + ">",
    "attribute": _long("a", before="<a href='", after="'>"),
    "comments": _long("<!--"),
    "references": _long("&amp;"),
    "siblings": _long("<br>"),
    "brackets": _long("<"),
}
MARKDOWN_SHAPES: Shapes = {
    "quotes": _nested(">", core="a"),
    "lists": _nested("- ", core="a"),
    "emphasis": _nested("*a **a "),
    "links": _nested("[", "](a)"),
    "images": _nested("![", "](a)"),
    "code": lambda most: "".join("`" * n + " " for n in range(int((2 * most) ** 0.5) - 1)),
    "table": _long("|", before="|a|\n|-|\n"),
    "headings": _long("# a\n"),
    "tags": _long("<a"),
    "escapes": _long("\\"),
}
SQL: Shapes = {
    "brackets": _nested("(", ")", "1", before="SELECT "),
    "selects": _nested("(SELECT ", ")", "1", before="SELECT "),
    "places": _long(":a,", before="SELECT ", after=":a"),
    "colons": _long(":"),
    "texts": _long("'a',", before="SELECT ", after="1"),
    "quotes": _long("'"),
    "comments": _long("--a\n"),
    "operators": _long("+1", before="SELECT 1"),
    "unions": _long(" UNION SELECT 1", before="SELECT 1"),
    "backslashes": _long("\\:"),
}
ROBOTS: Shapes = {
    "rules": _long("Disallow: /a*\n", before="User-agent: *\n"),
    "agents": _long("User-agent: *\n"),
    "stars": _long("*a", before="User-agent: *\nDisallow: /", after="b"),
    "only_stars": _long("*", before="User-agent: *\nDisallow: /", after="b$"),
    "escapes": _long("%41", before="User-agent: *\nDisallow: /"),
    "sitemaps": _long("Sitemap: a\n"),
    "colons": _long(":"),
    "comments": _long("#\n"),
    "delays": _long("9", before="User-agent: *\nCrawl-delay: "),
    "lines": _long("\n"),
}
HEADS: Shapes = {
    "headers": _long("a: b\r\n", after="\r\n"),
    "header": _long("a", before="a: ", after="\r\n\r\n"),
    "name": _long("a", after=": b\r\n\r\n"),
    "cookies": _long("a=b;", before="cookie: ", after="\r\n\r\n"),
    "quoted_cookies": _long('a="\\101";', before="cookie: ", after="\r\n\r\n"),
    "types": _long(";a=b", before="content-type: a/b", after="\r\n\r\n"),
    "folded": _long("a: b\r\n c\r\n", after="\r\n"),
    "colons": _long(":"),
    "spaces": _long(" ", before="a:", after="\r\n\r\n"),
    "chunks": _long("1\r\na\r\n", before="transfer-encoding: chunked\r\n\r\n"),
}
ADDRESSES: Shapes = {
    "path": _long("/a", before="https://a.example"),
    "dots": _long("/..", before="https://a.example"),
    "query": _long("&a=b", before="https://a.example/?"),
    "escapes": _long("%41", before="https://a.example/"),
    "host": _long("a.", before="https://", after="example"),
    "brackets": _nested("[", "]", before="https://"),
    "letters": _long("ä", before="https://", after=".example"),
    "colons": _long(":"),
    "users": _long("a@", before="https://", after="a.example"),
    "fragment": _long("#", before="https://a.example/"),
}
MAILBOXES: Shapes = {
    "comments": _nested("(", ")", before="a", after="@a.example"),
    "quotes": _long('"a".', after="a@a.example"),
    "dots": _long("a.", after="a@a.example"),
    "domain": _long("a.", before="a@", after="example"),
    "brackets": _nested("[", "]", before="a@"),
    "angles": _nested("<", ">", "a@a.example"),
    "ats": _long("@"),
    "escapes": _long("\\a", before='"', after='"@a.example'),
    "route": _long("@a,", before="<", after=":a@a.example>"),
    "letters": _long("ä", after="@a.example"),
}
CRON: Shapes = {
    "commas": _long("1,", after="1 * * * *"),
    "ranges": _long("1-2,", after="1 * * * *"),
    "steps": _long("*/1,", after="1 * * * *"),
    "spaces": _long(" ", before="* * * * *"),
    "digits": _long("9", after=" * * * *"),
    "never": lambda _: "0 0 30 2 *",
    "rare": lambda _: "0 0 29 2 1#5",
    "stars": _long("*"),
    "letters": _long("L", before="* * ", after=" * *"),
    "slashes": _long("/"),
}
TOKENS: Shapes = {
    "dots": _long("."),
    "letters": _long("a", before="a.", after=".a"),
    **{
        f"header_{name}": lambda most, shape=shape: (
            urlsafe_b64encode(shape(most * 3 // 4 - 10).encode()).decode() + ".e30.a"
        )
        for name, shape in JSON.items()
        if name != "mixed"
    },
}
PASSWORDS: Shapes = {
    "one_letter": _long("a"),
    "words": _long("password"),
    "leet": _long("p4$$w0rd"),
    "keys": _long("qwerty"),
    "dates": _long("1.1.2000"),
    "digits": _long("1"),
    "sequence": _long("abcdef"),
    "signs": _long("%"),
    "letters": _long("ä"),
    "pairs": _long("ab"),
}
PATTERNS: Shapes = {
    "groups": _nested("(", ")", "a"),
    "stars": _nested("(", "*)", "a"),
    "counts": _nested("(", "{9})", "a"),
    "count": lambda _: "(a{1000}){1000}",
    "choices": _long("a|", after="a"),
    "classes": _long("[a-z]"),
    "negated": _nested("(?!", ")", "a"),
    "brackets": _nested("[", "]"),
    "unicode": _long("\\p{L}"),
    "any": _long(".*"),
}


def _template(text: str) -> object:
    prompts = PromptSet({"a": PromptSource("a", FrontMatter.model_validate({}), text)})
    try:
        prompts.unknown_words("a")
        return prompts.variables("a")
    except PromptError as error:
        return error


def _toml(text: str) -> object:
    try:
        return rtoml.loads(text)
    except rtoml.TomlParsingError as error:
        return error


def _messages(text: str) -> object:
    """JSON as a message, and bytes of the same length as one."""
    with suppress(json_format.ParseError, ValueError, RecursionError):
        json_format.Parse(text, struct_pb2.Value())
    # Lists within lists, whose lengths say that all the rest is within.
    for data in (text.encode(), _lists(len(text))):
        try:
            struct_pb2.Value.FromString(data)
        except DecodeError:
            continue
    return None


def _lists(most: int) -> bytes:
    data = b""
    while len(data) < min(most, 20_000):
        for tag in (0x0A, 0x32):
            size, rest = len(data), bytearray()
            while size > 0x7F:
                rest.append(size & 0x7F | 0x80)
                size >>= 7
            data = bytes([tag, *rest, size]) + data
    return data


def _schema(text: str) -> object:
    schema: object = {"type": "string", "pattern": text}
    with suppress(ValueError, RecursionError):
        schema = json.loads(text)
    table = cast("dict[str, object]", schema) if isinstance(schema, dict) else {"enum": [schema]}
    try:
        return schema_problem(table) or fits(table, "a" * 1000)
    except RecursionError as error:
        return error


def _msgpack(text: str) -> object:
    try:
        return ormsgpack.unpackb(text.encode("latin-1", "replace"))
    except (ormsgpack.MsgpackDecodeError, ValueError) as error:
        return error


def _robots(text: str) -> object:
    rules = Protego.parse(text)
    return rules.can_fetch("https://a.example/" + "a" * 2000, "Responsa"), rules.crawl_delay("Responsa")


class _Head:
    def __init__(self) -> None:
        self.headers = list[tuple[bytes, bytes]]()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def _http(text: str) -> object:
    head = _Head()
    try:
        httptools.HttpRequestParser(head).feed_data(
            b"POST / HTTP/1.1\r\n" + text.encode("latin-1", "replace")
        )
    except httptools.HttpParserError as error:
        return error
    return head


def _request(text: str) -> object:
    headers = [
        (name.strip().lower().encode("latin-1", "replace"), value.strip().encode("latin-1", "replace"))
        for name, _, value in (line.partition(":") for line in text.split("\r\n"))
    ]
    request = Request(
        {"type": "http", "headers": headers, "path": "/", "query_string": text.encode()[:32_768]}
    )
    return request.cookies, request.query_params, request.headers.get("content-type")


def _form(text: str) -> object:
    async def body() -> AsyncGenerator[bytes, None]:
        yield f"--b\r\n{text}\r\n\r\n{text}\r\n--b--\r\n".encode()

    headers = Headers({"content-type": "multipart/form-data; boundary=b"})
    try:
        return asyncio.run(MultiPartParser(headers, body(), max_files=1, max_fields=32).parse())
    except MultiPartException as error:
        return error


def _frames(text: str) -> object:
    found = Protocol(SERVER, max_size=64 * 1024)
    found.receive_data(text.encode("latin-1", "replace"))
    found = Protocol(SERVER, max_size=64 * 1024)
    found.receive_data(Frame(Opcode.TEXT, text.encode()).serialize(mask=True))
    try:
        return found.events_received(), parse(text, 64 * 1024)
    except ResponsaError as error:
        return error


def _caught(read: Callable[[str], object], *errors: type[Exception]) -> Callable[[str], object]:
    def tried(text: str) -> object:
        try:
            return read(text)
        except errors as error:
            return error

    return tried


MSGPACK: Shapes = {
    "arrays": _nested("\x91", after="\x01"),
    "maps": _nested("\x81\x01", after="\x01"),
    "long_array": lambda most: "\xdd" + (most - 5).to_bytes(4, "big").decode("latin-1") + "\x01" * (most - 5),
    "declared": lambda _: "\xdd\xff\xff\xff\xff",
    "declared_map": lambda _: "\xdf\xff\xff\xff\xff",
    "declared_text": lambda _: "\xdb\xff\xff\xff\xff",
    "text": lambda most: "\xdb" + (most - 5).to_bytes(4, "big").decode("latin-1") + "a" * (most - 5),
    "empty_arrays": lambda most: (
        "\xdd" + (most - 5).to_bytes(4, "big").decode("latin-1") + "\x90" * (most - 5)
    ),
    "nils": _long("\xc0"),
    "unused": _long("\xc1"),
}

_LONG = "{% if '" + "a" * 450 + "b" + "a" * 450 + "' in history %}x{% endif %}"
FILLINGS: Mapping[str, str] = {
    "repeated": "{{ 'x' * 10**9 }}",
    "replaced": "{{ question" + "|replace('', '" + "y" * 300 + "')" * 3 + " }}",
    "indented": "{{ question|indent(1000000000) }}",
    "doubled": "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a ~ a %}" * 40,
    "macros": "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}{{ m(m(m(m(m(history))))) }}",
    "captured": "{% set a %}{{ history }}{{ history }}{% endset %}{{ a }}" * 50,
    "listed": "{{ [" + ",".join(["history"] * 90) + "] }}",
    "added": "{% for a in [history + history] %}{{ a }}{% endfor %}" * 50,
    "recursive": "{% for a in question recursive %}{{ loop(a) }}{% endfor %}",
    "called": "{% for a in question %}{{ loop.cycle(history, history) }}{% endfor %}",
    "literal": "{% for a in question %}" + "\U0001f600" * 1900 + "{% endfor %}",
    "long_literal": "{% for a in question %}" + "x" * 64_000 + "{% endfor %}",
    "loops": "{% for a in question %}" * 40 + "x" * 400 + "{% endfor %}" * 40,
    "put_often": "{% for a in question %}{{ history }}{% endfor %}",
    "put_flat": "{{ history }}" * 20_000,
    "lists_put": "{% for a in question %}{{ examples }}{% endfor %}",
    "tuples": "{{ (" + ",".join(["history"] * 100) + ") }}",
    "tuples_joined": "{{ (" + ",".join(["history"] * 90) + ")|join }}",
    "panics": "{{ 1 is divisibleby(0) }}",
    "wrongly_called": "{{ question|upper(1) }}{{ examples|join(examples) }}",
    "joined": "{{ question|join('" + "x" * 900 + "')|join('" + "x" * 50 + "') }}",
    "lists_joined": "{{ examples|join(question) }}",
    "upper": ("{% if umlauts" + "|upper|lower" * 45 + " %}x{% endif %}") * 50,
    "found": _LONG * 250,
    "found_in_lists": "{% for a in question %}"
    + "{% if 'x' in examples %}x{% endif %}" * 20
    + "{% endfor %}",
    "compared": ("{% if history == history %}x{% endif %}" * 40).join(
        ("{% for a in question %}", "{% endfor %}")
    ),
    "includes": "{% include 'p0' %}",
    "chain": "{% include 'c0' %}",
}
"""Prompts that would make much of little."""
PARTS = {f"p{n}": f"{{% include 'p{n + 1}' %}}" * 2 for n in range(20)} | {"p20": "x" * 1000}
PARTS |= {f"c{n}": f"{{% include 'c{n + 1}' %}}" for n in range(2000)} | {"c2000": "x"}
VALUES: Mapping[str, object] = {
    "question": "a" * 16_384,
    "history": "ab" * 1_200_000,
    "umlauts": "ß" * 200_000,
    "examples": ["x"] * 20_000,
}


def _reference(name: str) -> Mapping[str, object]:
    return {"$ref": f"#/$defs/{name}"}


def _doubling(times: int, last: object) -> Mapping[str, object]:
    steps = {f"d{n}": {"allOf": [_reference(f"d{n + 1}")] * 2} for n in range(times)}
    return {"$defs": {**steps, f"d{times}": last}, **_reference("d0")}


_NAMES = [f"name{n}" for n in range(2000)]
_TWICE = {"properties": {"a": _reference("n")}}
_DEEP = json.loads('{"a":' * 30 + "1" + "}" * 30)
SCHEMAS: Mapping[str, tuple[object, object]] = {
    "itself": ({"oneOf": [{"$ref": "#"}]}, 1),
    "itself_within": ({"properties": {"a": {"allOf": [{"$ref": "#/properties/a"}]}}}, {"a": "a"}),
    "doubled": (_doubling(40, {"minLength": 1}), "a"),
    "doubled_pattern": (_doubling(16, {"pattern": "(?:a|b|ab|ba){300}c"}), "ab" * 16_000),
    "doubled_items": ({"items": _reference("d0"), **_doubling(12, {"not": {"minLength": 9}})}, ["a"] * 9000),
    "branches": ({"$defs": {"n": {"oneOf": [_TWICE, _TWICE]}}, **_reference("n")}, _DEEP),
    "some_branches": ({"$defs": {"n": {"oneOf": [_TWICE, _TWICE]}}, **_reference("n")}, _DEEP["a"]["a"]),
    "unevaluated": ({"$defs": {"n": {"anyOf": [_TWICE], "unevaluatedProperties": _reference("n")}}, **_reference("n")}, _DEEP),
    "alternatives": ({"oneOf": [{"minLength": n} for n in range(10_000)]}, "a" * 100),
    "alternatives_of_items": ({"items": {"anyOf": [{"minLength": n + 9} for n in range(1500)]}}, ["a"] * 9000),
    "nested": (json.loads('{"not":' * 90 + "{}" + "}" * 90), "a"),
    "backtracking": ({"pattern": "^(a+)+$"}, "a" * 32_000 + "b"),
    "large_patterns": ({"allOf": [{"pattern": f"(a{{1000}}){{{n}}}"} for n in range(1, 100)]}, "a" * 32_000),
    "slow_pattern": ({"pattern": "(?:a|b|ab|ba){370}c"}, "abba" * 8000),
    "values": ({"enum": [*range(40_000)]}, -1),
    "required_of_items": ({"items": {"required": _NAMES}}, [{}] * 1000),
    "required_of_a_long_value": ({"required": _NAMES}, {"a": "x" * 30_000}),
    "values_of_items": ({"items": {"enum": [f"{n:0100}" for n in range(10_000)]}}, ["x"] * 1000),
    "dependents": (
        {"dependentRequired": dict.fromkeys(_NAMES[:60], _NAMES[:60])},
        dict.fromkeys(_NAMES[:60], "x" * 500) | {"name0": "x" * 30_000},
    ),
    "unique": ({"uniqueItems": True}, [[n] for n in range(8000)]),
}  # fmt: skip
"""Schemas that would make much work of a small value, each with one."""


def _filling(template: str) -> object:
    parts = {name: Partial(name, text) for name, text in PARTS.items()}
    prompts = PromptSet({"a": PromptSource("a", FrontMatter.model_validate({}), template)}, parts)
    try:
        return prompts.fill("a", VALUES)
    except PromptError as error:
        return error


Probe = tuple[Shapes, Callable[[str], object]]
PROBES: Mapping[tuple[str, str], Probe] = {
    ("minijinja", "agents/engine/prompts.py"): (TEMPLATES, _template),
    ("rtoml", "agents/config/**"): (TOML, _toml),
    ("json", "**"): (JSON, _caught(lambda text: json_value(text.encode()), ResponsaError)),
    ("pydantic", "**"): (JSON, _caught(lambda text: parse(text, 1 << 20), ResponsaError)),
    ("google.protobuf", "calls/**"): (JSON, _messages),
    ("jsonschema_rs", "agents/engine/schemas.py"): ({**JSON, **PATTERNS}, _schema),
    ("ormsgpack", "agents/engine/state.py"): (MSGPACK, _msgpack),
    ("nh3", "transports/ws/html.py"): (MARKUP, nh3.clean),
    ("html", "responsa_etl/sources/crawling.py"): (MARKUP, unescape),
    ("email", "identity/mailing.py"): (
        MAILBOXES,
        _caught(lambda text: Address(addr_spec=text), MessageError, ValueError, IndexError),
    ),
    ("markdown_it", "text/shown.py"): (
        MARKDOWN_SHAPES,
        lambda text: shown_blocks(text, QuoteOrigin()),
    ),
    ("markdown_it", "text/disarming.py"): (MARKDOWN_SHAPES, disarm_quoted),
    ("markdown_it", "transports/ws/html.py"): (MARKDOWN_SHAPES, of_markdown),
    ("markdown_it", "text/layout.py"): (MARKDOWN_SHAPES, lambda text: [*blocks_of(text)]),
    ("sqlalchemy", "responsa_etl/databases/**"): (
        SQL,
        _caught(lambda text: sql_text(text).compile(dialect=postgresql.dialect()), SQLAlchemyError),
    ),
    ("cronsim", "responsa_etl/sources/mapping.py"): (
        CRON,
        _caught(lambda text: read_schedule(text, "Europe/Berlin"), ScheduleProblem),
    ),
    ("protego", "responsa_etl/sources/crawling.py"): (ROBOTS, _robots),
    ("jwt", "identity/*.py"): (
        TOKENS,
        _caught(
            jwt.get_unverified_header, jwt.PyJWTError, ValueError, RecursionError, AttributeError, TypeError
        ),
    ),
    ("zxcvbn_rs_py", "identity/passwords.py"): (PASSWORDS, lambda text: zxcvbn(text[:72], ["Ada"])),
    ("uvicorn", "app/gateway.py"): (HEADS, _http),
    ("websockets", "transports/ws/protocol.py"): (JSON, _frames),
    ("starlette", "app/**"): (HEADS, _request),
    ("python_multipart.multipart", "transports/http/uploads.py"): (HEADS, parse_options_header),
    ("starlette.formparsers", "transports/http/uploads.py"): (HEADS, _form),
    ("httpx2", "**"): (ADDRESSES, _caught(httpx2.URL, httpx2.InvalidURL, ValueError)),
}
"""The shapes that a parser gets, and what feeds it, by the library and the first pattern of the row."""


def tried(feed: Callable[[str], object], text: str) -> tuple[int, float, int]:
    """The signal that ended the process of a text, its processor time, and by how much its memory grew."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        os.write(writing, f"{time.process_time()} ".encode() + Path("/proc/self/statm").read_bytes())
        status = 1
        try:
            feed(text)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    _, status, used = os.wait4(pid, 0)
    began, _, pages, *_ = os.read(reading, 1000).split()
    os.close(reading)
    code = os.waitstatus_to_exitcode(status)
    seconds = used.ru_utime + used.ru_stime - float(began)
    return code, seconds, used.ru_maxrss * 1024 - int(pages) * os.sysconf("SC_PAGE_SIZE")


def suspicious(feed: Callable[[str], object], texts: Mapping[str, str]) -> Sequence[str]:
    """The names of the texts that must be tried one by one: none if one process reads them all within the limits of a
    single one, because each fork of this process takes longer than most texts.
    """

    def feed_all(_: str) -> None:
        for text in texts.values():
            feed(text)

    return [*texts] if beyond(*tried(feed_all, "")) else ()


def beyond(code: int, seconds: float, memory: int) -> bool:
    """Whether the end, the processor time or the memory of a process is beyond the limits."""
    return bool(code) or seconds > CPU_SECONDS or memory > MEMORY_BYTES


def tell(place: tuple[str, ...], name: str, feed: Callable[[str], object], text: str) -> None:
    """Print a text that was beyond the limits three times: where others share the cores, processor time varies."""
    for _ in range(3):
        code, seconds, memory = tried(feed, text)
        if not beyond(code, seconds, memory):
            return
    print(json.dumps([*place, name, code, seconds, f"{memory >> 20} MiB"]))


def main() -> None:
    shapes = list[tuple[str, str, int]]()
    gc.freeze()
    for row in PARSERS:
        if row.runs is not RunsIn.SERVER or not row.most:
            continue
        place = (row.library, row.files[0])
        texts, feed = PROBES.get(place, ({}, str))
        shapes.append((*place, len(texts)))
        for name in suspicious(feed, {name: shape(row.most) for name, shape in texts.items()}):
            tell(place, name, feed, texts[name](row.most))
    hostile: dict[str, Callable[[str], object]] = {
        **{f"filling {name}": lambda _, text=text: _filling(text) for name, text in FILLINGS.items()},
        **{
            f"schema {name}": lambda _, one=one: schema_problem(one[0]) or fits(*one)
            for name, one in cast("Mapping[str, tuple[dict[str, object], object]]", SCHEMAS).items()
        },
    }
    for name, feed in hostile.items():
        tell((), name, feed, "")
    # Without its bound, the parser of templates ends its process.
    unbounded = [
        tried(lambda text: minijinja.Environment().add_template("a", text), TEMPLATES[name](1 << 20))[0]
        for name in ("minus", "plus", "filters", "conditions")
    ]
    print(json.dumps({"shapes": shapes, "unbounded": unbounded}))


if __name__ == "__main__":
    main()
