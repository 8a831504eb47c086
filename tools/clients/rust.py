"""Writes what of the Rust client is generated: the contract's messages (generated/rust), and its methods (clients/rust/src/methods.rs).

Usage: python -m tools.clients.rust

The files are committed, so that the client needs no build step. Without Rust, this program only says that it left them
as they are; a test then compares `generated/rust/descriptor.sha256` with the contract.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from typing import Final

from tools.clients.go import digest
from tools.clients.plan import DESCRIPTOR, ROOT, Method, Retry, read

STUBS: Final = ROOT / "generated" / "rust"
DIGEST: Final = STUBS / "descriptor.sha256"
METHODS: Final = ROOT / "clients" / "rust" / "src" / "methods.rs"
BY_HAND: Final = frozenset({"Ask", "ResumeTurn", "UploadDocument"})


def methods() -> str:
    """The text of methods.rs."""
    lines = [
        "// Code generated from generated/descriptor.binpb by `make generate`. DO NOT EDIT.",
        "",
        "use crate::client::{Client, Messages, identify};",
        "use crate::errors::Error;",
        "use crate::{admin, auth, chat, google, knowledge};",
        "",
        "#[rustfmt::skip]",
        "impl Client {",
    ]
    for service in read().services:
        for method in service.methods:
            if method.name not in BY_HAND:
                lines += _method(f"/{service.package}.{service.name}/{method.name}", method)
    lines[-1] = "}"
    return "\n".join([*lines, ""])


def _method(path: str, method: Method) -> Iterator[str]:
    errors = [error.description for error in method.errors]
    yield from _comment(method.comment)
    if errors:
        yield from ("    ///", *_comment(f"Errors: {', '.join(errors)}."))
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", method.name).lower()
    mutable = "mut " if method.request_id else ""
    result, call = (
        f"Result<{_type(method.response)}, Error>",
        f'self.call("{path}", {_repeatable(method)}, &request)',
    )
    if method.server_streams:
        result, call = (
            f"Result<Messages<{_type(method.response)}>, Error>",
            f'self.call_stream("{path}", &request)',
        )
    yield f"    pub async fn {name}(&self, {mutable}request: {_type(method.request)}) -> {result} {{"
    named = ""
    if method.request_id:
        yield "        identify(&mut request.request_id);"
        named = ".map_err(|error| error.asked(request.request_id))"
    yield f"        {call}.await{named}"
    yield "    }"
    yield ""


def _comment(text: str) -> Iterator[str]:
    return (f"    /// {line}" for line in textwrap.wrap(text, 120, break_long_words=False))


def _repeatable(method: Method) -> str:
    if method.retry is not Retry.WITHOUT_ETAG:
        return "true" if method.retry is Retry.ALWAYS else "false"
    if method.etag == "request":
        return "request.etag.is_empty()"
    return f"request.{method.resource}.as_ref().is_none_or(|resource| resource.etag.is_empty())"


def _type(name: str) -> str:
    return "()" if name == "google.protobuf.Empty" else name.removeprefix("responsa.").replace(".", "::")


def main() -> None:
    """Write the files."""
    cargo = shutil.which("cargo")
    if cargo is None:
        print(
            "generate: Rust is not installed (rust-lang.org), so generated/rust and clients/rust/src/methods.rs stay as they are"
        )
        return
    shutil.rmtree(STUBS / "src", ignore_errors=True)
    (STUBS / "src").mkdir()
    folder = ROOT / "tools" / "rust_stubs"
    build = ROOT / "build" / "rust_stubs"
    command = [
        cargo,
        "run",
        "--quiet",
        "--locked",
        "--manifest-path",
        folder / "Cargo.toml",
        "--target-dir",
        build,
    ]
    subprocess.run([*command, "--", DESCRIPTOR, STUBS / "src"], check=True)
    DIGEST.write_text(digest(), encoding="utf-8")
    METHODS.write_text(methods(), encoding="utf-8")


if __name__ == "__main__":
    main()
