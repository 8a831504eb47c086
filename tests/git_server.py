"""A server of Git repositories: git's own http-backend behind a small HTTP server, for a user with a password."""

from __future__ import annotations

import os
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.web_folders import HeldRequests

USER, PASSWORD = "reader", "open sesame"


@dataclass
class GitServer:
    """requests: the paths that were asked for with the right password."""

    url: str
    folder: Path
    requests: list[str] = field(default_factory=list[str])
    held: HeldRequests = field(default_factory=HeldRequests)

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        command = ["git", *identity, "-C", str(self.folder / "work"), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def commit(self, **files: str | None) -> None:
        """Commit files by their names, with the suffix .md; None removes one."""
        for name, text in files.items():
            path = self.folder / "work" / f"{name}.md"
            path.unlink() if text is None else path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "A change")
        self.git("push", "--quiet", "origin", "main")


@contextmanager
def serving(folder: Path, tls: ssl.SSLContext | None = None) -> Generator[GitServer]:
    """A repository `handbook.git` with the branch main, and its working copy."""
    for command in (
        ["git", "init", "--quiet", "--bare", "--initial-branch=main", str(folder / "handbook.git")],
        ["git", "clone", "--quiet", str(folder / "handbook.git"), str(folder / "work")],
    ):
        subprocess.run(command, check=True, capture_output=True)
    token = f"Basic {b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            path, _, query = self.path.partition("?")
            if server.held.hold(self.connection):
                return
            if path.startswith("/moved"):
                self.send_response(302)
                self.send_header("location", self.path.replace("/moved", "", 1))
                self.end_headers()
                return
            if self.headers.get("authorization") != token:
                self.send_response(401)
                self.send_header("www-authenticate", "Basic")
                self.send_header("content-length", "0")
                self.end_headers()
                return
            server.requests.append(path)
            length = int(self.headers.get("content-length") or 0)
            variables = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("content-type", ""),
                "CONTENT_LENGTH": str(length),
                "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
                "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
            }
            done = subprocess.run(
                ["git", "http-backend"],
                input=self.rfile.read(length),
                env=variables,
                capture_output=True,
                check=False,
            )
            head, _, body = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header(
                "content-length", str(len(body))
            )  # over TLS, some clients take no other end for one
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_request(self, code: object = "-", size: object = "-") -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        http.socket = tls.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    server = GitServer(f"http{'s' if tls else ''}://127.0.0.1:{http.server_address[1]}/handbook.git", folder)
    Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
