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
from functools import partial
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import httpx
from obstore.store import S3Store

from tests.instance import eventually, free_port
from tests.tied import tied

USER, PASSWORD = "reader", "open sesame"


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
