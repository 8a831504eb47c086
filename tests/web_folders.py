"""Servers of folders behind HTTP: one of WebDAV, and one of S3's protocol that checks signatures."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, cast
from xml.etree import ElementTree as ET

import httpx
from obstore.store import S3Store

from tests.instance import eventually, free_port
from tests.tied import tied

USER, PASSWORD = "reader", "open sesame"


@dataclass
class HeldRequests:
    """Requests that a server of folders does not answer while `holding`. arrived: set by the first one. left: the
    number of them whose clients have gone away."""

    holding: bool = False
    arrived: Event = field(default_factory=Event)
    left: int = 0

    def hold(self, client: socket.socket) -> bool:
        """Called by the server before it answers. Returns whether the client has gone away."""
        if not self.holding:
            return False
        self.arrived.set()
        client.recv(1)
        self.left += 1
        return True


@dataclass
class EndlessFolder:
    """A folder without files, whose listing has no end, by S3's protocol and by WebDAV. requests: so many came."""

    address: str = ""
    requests: int = 0
    held: HeldRequests = field(default_factory=HeldRequests)


@contextmanager
def serving_endless() -> Generator[EndlessFolder]:
    """Serve a listing that goes on and on."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            folder.requests += 1
            self.rfile.read(int(self.headers.get("content-length", "0")))
            if folder.held.hold(self.connection):
                return
            path = self.path.partition("?")[0]
            more = f"<NextContinuationToken>{folder.requests}</NextContinuationToken>"
            body = f"<ListBucketResult>{more}</ListBucketResult>"
            if self.command == "PROPFIND":
                kind = "<resourcetype><collection/></resourcetype>"
                names = f"<response><href>{path}a/</href>{kind}</response><response><href>{path}b/</href>{kind}</response>"
                body = f"<multistatus>{names}</multistatus>"
            self.send_response(207)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_PROPFIND = answer

        def log_request(self, code: object = "-", size: object = "-") -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    folder = EndlessFolder(f"http://127.0.0.1:{http.server_address[1]}/files")
    Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield folder
    finally:
        http.shutdown()
        http.server_close()


@contextmanager
def serving_webdav(folder: Path, settings: Path) -> Generator[str]:
    """Serve a folder by WebDAV. settings: a file to write. Yields the folder's address."""
    port = free_port()
    values = {
        "host": "127.0.0.1",
        "port": port,
        "provider_mapping": {"/files": {"root": str(folder)}},
        "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
        "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
    }
    settings.write_text(json.dumps(values))
    options = ("--config", str(settings), "--server", "wsgiref", "--quiet")
    command = tied(sys.executable, "-m", "wsgidav.server.server_cli", *options)
    with subprocess.Popen(command, env=_environment(), stderr=subprocess.DEVNULL) as server:
        try:
            eventually(partial(_answers, port), "the server of WebDAV")
            yield f"http://127.0.0.1:{port}/files"
        finally:
            server.kill()


@contextmanager
def serving_bucket() -> Generator[tuple[str, S3Store, str, str]]:
    """Serve an empty bucket. Yields its address, a store to change it, and the user's keys."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    # After the four calls that make the user and the bucket, all calls must be signed.
    variables = {**_environment(), "INITIAL_NO_AUTH_ACTION_COUNT": "4"}
    command = tied(sys.executable, "-m", "moto.server", "--port", str(port))
    with subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL) as server:
        try:
            eventually(partial(_answers, port), "the server of buckets")
            name = f"reader-{secrets.token_hex(4)}"
            _ask_iam(address, "CreateUser", UserName=name)
            made = ET.fromstring(_ask_iam(address, "CreateAccessKey", UserName=name))
            tags = {one.tag.rpartition("}")[2]: one.text or "" for one in made.iter()}
            keys = tags["AccessKeyId"], tags["SecretAccessKey"]
            policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
            _ask_iam(address, "PutUserPolicy", UserName=name, PolicyName="all", PolicyDocument=policy)
            httpx.put(f"{address}/handbook").raise_for_status()
            config = {
                "aws_endpoint_url": address,
                "aws_allow_http": "true",
                "aws_access_key_id": keys[0],
                "aws_secret_access_key": keys[1],
                "aws_region": "us-east-1",
            }
            yield f"{address}/handbook", S3Store("handbook", config=cast("Any", config)), keys[0], keys[1]
        finally:
            server.kill()


def _environment() -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(sys.prefix) / "moto")}


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _ask_iam(address: str, action: str, **values: str) -> str:
    headers = {
        "authorization": "AWS4-HMAC-SHA256 Credential=none/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0"
    }
    data = {"Action": action, "Version": "2010-05-08", **values}
    answered = httpx.post(address, data=data, headers=headers)
    answered.raise_for_status()
    return answered.text
