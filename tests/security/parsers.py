"""The parsers that read somebody else's bytes: what bounds each, and in which process it runs.

A parser in native code can overflow the stack of its process, or corrupt its memory, and a parser that calls itself can
use it up. In the server's own process, either ends the service for all tenants. So a parser runs in the server only
with a bound that keeps it harmless, and otherwise in a process of its own.

`test_parsers.py` fails for an import of such a library without a row, and gives each parser of the server ten shapes of
nested and of long text at its limit. A new parser, or a new use of one, is a row here and a function in
`parser_probes.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * 1024


class RunsIn(StrEnum):
    """Where a parser runs."""

    SERVER = "the server's own process"
    SANDBOX = "a process under Landlock and seccomp, as the parsers' user"
    CONFINED = "another confined process, which ends alone"
    COMMAND = "a command, on files of its own user"


@dataclass(frozen=True, slots=True)
class Parser:
    """A use of a parser.

    library: the module that is imported. files: patterns of the files that import it, below `server`, without `responsa_server/`. reads:
    what it reads, and who wrote it. runs: where. bound: what keeps it harmless in the server. most: the largest text
    that it gets there, in bytes; 0 for other processes.
    """

    library: str
    files: Sequence[str]
    reads: str
    runs: RunsIn
    bound: str = ""
    most: int = 0


PARSERS: Final[Sequence[Parser]] = (
    # templates
    Parser("minijinja", ["agents/engine/prompts.py"], "prompts of agents, by owners: files, and versions over the API", RunsIn.SERVER,
        "`agents/engine/tags.py` scans each template first; `agents/engine/prompts.py` bounds what a filling takes and makes",
        256 * KIB),
    Parser("minijinja", ["agents/engine/prompts.py"], "templates of mappings, by administrators of tenants", RunsIn.SANDBOX,
        "`responsa_etl/sources/sandbox.py`"),
    # TOML
    Parser("rtoml", ["agents/config/**", "app/settings.py", "responsa_etl/sources/declarations.py"],
        "files of the owner: agents, declarations, settings", RunsIn.SERVER, "the size of a file; the library refuses deep nesting",
        256 * KIB),
    Parser("rtoml", ["responsa_etl/sources/mapping_text.py"],
        "mappings, by administrators of tenants", RunsIn.SANDBOX, "`responsa_etl/sources/sandbox.py`"),
    Parser("tomllib", ["cli/**", "responsa_etl/samples/**"], "files of the command's user, and shipped ones", RunsIn.COMMAND),
    Parser(
        "tomllib",
        ["search/differing.py", "responsa_formats/text/languages.py"]
        + [f"text/{name}.py" for name in ("quantities", "lexical", "patterns")],
        "shipped words of form", RunsIn.SERVER, "no text of others",
    ),
    # JSON and its kin
    Parser("json", ["**"], "bodies of requests, replies of models, tools and providers", RunsIn.SERVER,
        "4 MiB a body, and 50,000 values and names in it (`calls/http.py`); nesting ends in a typed RecursionError",
        4 * MIB),
    Parser("json", ["responsa_etl/sources/mapping.py"],
        "columns of rows, by administrators of tenants", RunsIn.SANDBOX, "`responsa_etl/sources/sandbox.py`"),
    Parser("json", ["responsa_etl/databases/sqlite.py"],
        "what the confined process of an SQLite file answers: numbers, and the lengths of texts",
        RunsIn.SERVER, "4 MiB; nesting ends in a RecursionError, which ends the session"),
    Parser("psycopg", ["responsa_etl/databases/kinds.py"], "arrays of rows, by administrators of tenants", RunsIn.SERVER,
        "1 MiB, and one at a time: it becomes a text at once"),
    Parser("pydantic", ["**"], "frames of WebSockets, tables of TOML, replies", RunsIn.SERVER,
        "256 KiB a frame; its JSON ends at a nesting of 200", 256 * KIB),
    Parser("pydantic_core", ["agents/config/check/prompts.py", "providers/json_server.py"], "see `pydantic`", RunsIn.SERVER,
        "see `pydantic`"),
    Parser("pydantic_settings", ["**/settings.py", "**/*_settings.py", "cli/session.py"], "the environment of the process", RunsIn.SERVER,
        "written by the operator"),
    Parser("pydantic_core", ["responsa_local/commands/archive.py"], "the first line of a backup", RunsIn.COMMAND),
    Parser("google.protobuf", ["calls/**", "transports/**", "stores/**", "responsa_local/**", "cli/**", "app/**"],
        "messages of all calls, in binary form and as JSON", RunsIn.SERVER,
        "256 KiB a message, but documents, whose text is one field; a nesting of 100", 256 * KIB),
    Parser("jsonschema_rs", ["agents/engine/schemas.py", "agents/engine/calling.py"],
        "schemas of parameters and tools, by owners and declared tools, with their patterns; arguments of models and callers",
        RunsIn.SERVER,
        "`agents/engine/schemas.py`: patterns in linear time, their size and number; how many subschemas may apply to a value", 256 * KIB),
    Parser("ormsgpack", ["agents/engine/state.py", "search/*.py", "stores/cached.py"], "checkpoints of the own database, and signed caches",
        RunsIn.SERVER, "no text of others in its form; the library refuses a nesting of more than 1,024", 256 * KIB),
    # XML, HTML and documents
    Parser("xml.etree", ["responsa_formats/parsers/*.py"], "documents", RunsIn.SANDBOX),
    Parser("xml.parsers", ["responsa_formats/parsers/office.py"], "documents", RunsIn.SANDBOX),
    Parser("xml.parsers", ["responsa_etl/sources/listings.py"], "sitemaps and listings",
        RunsIn.SANDBOX, "`responsa_etl/sources/sandbox.py`"),
    Parser("selectolax", ["responsa_formats/parsers/*.py"], "documents, and pages for tools", RunsIn.SANDBOX),
    Parser("nh3", ["transports/ws/html.py"], "answers as HTML, which `markdown_it` has made", RunsIn.SERVER,
        "see `markdown_it`: the HTML is a fixed multiple of the text", 24 * KIB),
    Parser("html", ["responsa_etl/sources/crawling.py", "text/shown.py", "tools/endpoint.py", "transports/**",
        "responsa_formats/parsers/*.py"],
           "single references to characters",
        RunsIn.SERVER, "one pass of constant patterns", 64 * KIB),
    Parser("pypdfium2", ["responsa_formats/parsers/*.py"], "documents", RunsIn.SANDBOX),
    Parser("docutils", ["responsa_formats/parsers/rst.py"], "documents", RunsIn.SANDBOX),
    Parser("formualizer", ["responsa_formats/parsers/formulas.py"], "workbooks and their formulas", RunsIn.SANDBOX),
    Parser("icalendar", ["responsa_formats/parsers/ics.py"], "documents", RunsIn.SANDBOX),
    Parser("python_calamine", ["responsa_formats/parsers/binary_sheets.py"], "old and binary workbooks", RunsIn.SANDBOX),
    Parser("olefile", ["responsa_formats/parsers/*.py"], "documents", RunsIn.SANDBOX),
    Parser("cv2", ["responsa_formats/parsers/ocr.py"], "pictures of pages", RunsIn.SANDBOX),
    Parser("rapidocr", ["responsa_formats/parsers/ocr.py"], "pictures of pages", RunsIn.SANDBOX),
    Parser("email", ["responsa_formats/parsers/*.py"], "documents", RunsIn.SANDBOX),
    Parser("email", ["identity/mailing.py", "providers/http_model.py", "transports/a2a/routes.py"], "addresses; dates", RunsIn.SERVER,
        "254 bytes an address", 254),
    Parser("csv", ["cli/tables.py"], "nothing: it writes tables", RunsIn.COMMAND),
    Parser("chardet", ["responsa_formats/parsers/sniff.py"], "documents", RunsIn.SANDBOX),
    Parser("filetype", ["responsa_formats/parsers/sniff.py"], "documents", RunsIn.SANDBOX),
    # Markdown
    Parser("markdown_it", ["responsa_formats/parsers/markdown.py"], "documents", RunsIn.SANDBOX),
    Parser("markdown_it", ["text/shown.py"], "pieces of passages that an answer quotes", RunsIn.SERVER,
        "4 KiB a piece, and a nesting of 20", 4 * KIB),
    Parser("markdown_it", ["text/disarming.py"], "answers, and what doors show of documents and tools", RunsIn.SERVER,
        "1 KiB at a time, and 32 KiB of a text as blocks", 24 * KIB),
    Parser("markdown_it", ["transports/ws/html.py"], "answers", RunsIn.SERVER,
        "24 KiB an answer, and few cells of tables; in threads of its own", 24 * KIB),
    Parser("markdown_it", ["text/layout.py"], "answers, as blocks", RunsIn.SERVER,
        "24 KiB an answer, few cells of tables, and a nesting of 20; in a thread", 24 * KIB),
    Parser("markdown_it", ["cli/**"], "answers, on the reader's machine", RunsIn.COMMAND),
    # SQL
    Parser("sqlalchemy", ["responsa_etl/databases/**"],
        "queries of mappings, by administrators of tenants: only the places for values", RunsIn.SERVER,
        "20,000 characters; one constant pattern", 80_000),
    Parser("sqlite3", ["responsa_etl/databases/**"],
        "files and queries of sources", RunsIn.CONFINED, "`responsa_etl/databases/sqlite_process.py`"),
    Parser("sqlite3", ["responsa_etl/samples/**"], "shipped samples", RunsIn.COMMAND),
    Parser("sqlite3", ["responsa_local/embedded/doctor.py"], "nothing: its version", RunsIn.COMMAND),
    # YAML
    Parser("yaml", ["responsa_local/envoy/templates.py"], "shipped templates of Envoy's configuration", RunsIn.SERVER, "no text of others"),
    # schedules and the like
    Parser("cronsim", ["responsa_etl/sources/mapping.py", "responsa_etl/sources/in_sandbox.py"],
        "schedules of mappings", RunsIn.SERVER, "200 characters", 800),
    Parser("zoneinfo", ["responsa_etl/sources/mapping.py"], "files of the system, by names of 64 characters", RunsIn.SERVER,
        "a name that is a path is refused"),
    Parser("protego", ["responsa_etl/sources/crawling.py"], "robots.txt of websites", RunsIn.SERVER,
        "512 KiB; the library matches without backtracking; in a thread", 512 * KIB),
    Parser("re", ["**"], "everything", RunsIn.SERVER,
        "the patterns are constants, and `tests/security/test_patterns.py` attacks each of them"),
    # credentials and certificates
    Parser("jwt", ["identity/*.py"], "access tokens of callers; identity tokens and keys of OpenID providers", RunsIn.SERVER,
        "the size of a header; one algorithm", 32 * KIB),
    Parser("cryptography", ["identity/tokens.py", "app/default_model.py", "responsa_etl/sources/folders.py",
        "responsa_local/commands/archive.py"],
        "keys, and signatures of fixed length",
        RunsIn.SERVER, "no certificate and no key in another's form is read but by `jwt`"),
    Parser("ssl", ["responsa_etl/databases/**", "responsa_local/**", "identity/**", "outbound/**", "providers/**"],
        "certificates of servers that the configuration names", RunsIn.SERVER, "OpenSSL bounds the chain to 100 KiB"),
    Parser("ssl", ["responsa_local/embedded/doctor.py"], "nothing: its version", RunsIn.COMMAND),
    Parser("zxcvbn_rs_py", ["identity/passwords.py"], "passwords", RunsIn.SERVER, "72 characters", 288),
    # HTTP and WebSockets
    Parser("uvicorn", ["app/gateway.py", "transports/**"], "requests that Envoy has read and written again", RunsIn.SERVER,
        "32 KiB a head (`transports/http/protocol.py`); a body in pieces", 64 * KIB),
    Parser("websockets", ["transports/ws/protocol.py"], "frames", RunsIn.SERVER, "the size of a frame; flat", 64 * KIB),
    Parser("starlette", ["app/**", "transports/**"], "paths, queries, cookies and headers", RunsIn.SERVER, "32 KiB a head; flat", 32 * KIB),
    Parser("python_multipart.multipart", ["transports/http/uploads.py"], "the type of a form's body", RunsIn.SERVER,
        "a header of at most 16 KiB", 16 * KIB),
    Parser("starlette.formparsers", ["transports/http/uploads.py"], "forms with a file, of callers whose credential was checked",
        RunsIn.SERVER, "one pass over a flat list of at most 33 parts; a field has 64 KiB, and the file waits on the disk", 64 * KIB),
    Parser("httpx2", ["**"], "addresses; replies of models, tools, providers and websites", RunsIn.SERVER,
        "bodies by `outbound/connector.py` and the adapters; addresses of 64 KiB are refused", 2 * KIB),
    Parser("mcp", ["tools/**", "transports/mcp/**", "cli/**"], "JSON-RPC of callers and of declared MCP servers, by `pydantic`",
        RunsIn.SERVER, "the size of a body"),
    Parser("a2a", ["transports/a2a/**"], "messages, by `google.protobuf`", RunsIn.SERVER, "the size of a body"),
    # archives
    Parser("zipfile", ["responsa_formats/**"], "documents", RunsIn.SANDBOX),
    Parser("zipfile", ["routing/stored.py"], "the shipped classifiers", RunsIn.SERVER, "no text of others"),
    Parser("zlib", ["responsa_formats/**"], "documents", RunsIn.SANDBOX),
    Parser("zlib", ["responsa_etl/sources/listings.py"], "sitemaps of websites", RunsIn.SANDBOX, "50 MiB unpacked"),
    Parser("zlib", ["transports/rest/connect.py"], "messages of callers", RunsIn.SERVER, "4 MiB unpacked, of a body within its limit"),
    Parser("zlib",
        ["domain/passage_words.py", "routing/classifier.py", "text/compounds.py", "responsa_formats/text/drawn.py", "system/launching.py",
         "transports/rest/handler.py", "transports/rest/openapi.py"],
        "classifiers of the own database; otherwise only sums and packing", RunsIn.SERVER, "no text of others"),
    Parser("zlib", ["responsa_local/commands/archive.py"], "backups", RunsIn.COMMAND),
    Parser("gzip", ["responsa_local/commands/archive.py"], "backups", RunsIn.COMMAND),
    Parser("tarfile", ["responsa_local/commands/archive.py", "responsa_local/embedded/base_backup.py"], "backups", RunsIn.COMMAND),
    Parser("obstore", ["responsa_local/commands/backup_places.py"], "what the store of the backups says", RunsIn.COMMAND),
    Parser("pyrage", ["responsa_local/commands/archive.py"], "encrypted backups, whose identity only the key opens", RunsIn.COMMAND),
    # command lines
    Parser("shlex", ["cli/**"], "nothing: it quotes", RunsIn.COMMAND),
)  # fmt: skip
"""All uses, by what they read."""
