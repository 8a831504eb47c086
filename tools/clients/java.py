"""Writes the services of the Java client (generated/java), a class each with a method per call. The messages are Maven's.

Usage: python -m tools.clients.java
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from html import escape
from typing import Final

from tools.clients.plan import ROOT, Method, Retry, Service, read

SERVICES: Final = ROOT / "generated/java/com/responsa/client"
EMPTY: Final = "google.protobuf.Empty"
BY_HAND: Final = frozenset({"Ask", "ResumeTurn", "UploadDocument"})
"""The streams that clients/java follows and repeats itself."""


def sources() -> dict[str, str]:
    """The text of each class, by the name of its file."""
    return {f"{service.name}.java": _class(service) for service in read().services}


def _class(service: Service) -> str:
    kinds = {kind for method in service.methods for kind in (method.request, method.response)}
    imports = {f"com.{kind}" for kind in kinds} | {
        "io.grpc.MethodDescriptor",
        "io.grpc.MethodDescriptor.MethodType",
        "java.time.Duration",
    }
    public = [method for method in service.methods if method.name not in BY_HAND]
    if any(method.server_streams for method in public):
        imports.add("java.util.Iterator")
    lines = [
        "// Code generated from generated/descriptor.binpb by `make generate`. DO NOT EDIT.",
        "package com.responsa.client;",
        "",
        *(f"import {name};" for name in sorted(imports)),
        "",
        *_comment([service.comment], ""),
        f"public final class {service.name} {{",
    ]
    for method in service.methods:
        request, response = _name(method.request), _name(method.response)
        lines += [
            f"    static final MethodDescriptor<{request}, {response}> {_constant(method)} = Calls.method(",
            f'            MethodType.{_type(method)}, "{service.package}.{service.name}/{method.name}",',
            f"            {request}.getDefaultInstance(), {response}.getDefaultInstance());",
        ]
    lines += [
        "",
        "    private final Calls calls;",
        "    private final Duration timeout;",
        "",
        f"    {service.name}(Calls calls, Duration timeout) {{",
        "        this.calls = calls;",
        "        this.timeout = timeout;",
        "    }",
        "",
        "    /** The same calls, with this time for each instead of the client's. */",
        f"    public {service.name} withDeadlineAfter(Duration timeout) {{",
        f"        return new {service.name}(calls, timeout);",
        "    }",
    ]
    for method in public:
        lines += ["", *_method(method)]
    return "\n".join([*lines, "}", ""])


def _method(method: Method) -> Sequence[str]:
    errors = ", ".join(error.description for error in method.errors)
    name = method.name[0].lower() + method.name[1:]
    if method.server_streams:
        returns = f"Iterator<{_name(method.response)}>"
        call = f"return calls.stream({_constant(method)}, request, timeout);"
    else:
        repeats = {
            Retry.ALWAYS: "true",
            Retry.WITHOUT_ETAG: "!Calls.hasEtag(request)",
            Retry.NEVER: "false",
        }
        returns = "void" if method.response == EMPTY else _name(method.response)
        call = f"calls.unary({_constant(method)}, request, {repeats[method.retry]}, timeout);"
        call = call if method.response == EMPTY else f"return {call}"
    return [
        *_comment([method.comment, f"Errors: {errors}." if errors else ""], "    "),
        f"    public {returns} {name}({_name(method.request)} request) {{",
        f"        {call}",
        "    }",
    ]


def _comment(paragraphs: Sequence[str], indent: str) -> Sequence[str]:
    """A comment of Javadoc. Text between backticks becomes code."""
    parts = [_javadoc(paragraph) for paragraph in paragraphs if paragraph]
    lines = [
        line
        for number, part in enumerate(parts)
        for line in (
            *([""] if number else []),
            *textwrap.wrap(f"<p>{part}" if number else part, 130, break_long_words=False),
        )
    ]
    return [
        f"{indent}/**",
        *(f"{indent} * {line}".rstrip() for line in lines),
        f"{indent} */",
    ]


def _javadoc(text: str) -> str:
    pieces = text.split("`")
    return "".join(
        f"{{@code {piece}}}" if number % 2 else escape(piece, quote=False).replace("*/", "*&#47;")
        for number, piece in enumerate(pieces)
    )


def _name(kind: str) -> str:
    return kind.rpartition(".")[2]


def _constant(method: Method) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).upper()


def _type(method: Method) -> str:
    if method.client_streams:
        return "CLIENT_STREAMING"
    return "SERVER_STREAMING" if method.server_streams else "UNARY"


def main() -> None:
    """Write the files."""
    SERVICES.mkdir(parents=True, exist_ok=True)
    for name, text in sources().items():
        (SERVICES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
