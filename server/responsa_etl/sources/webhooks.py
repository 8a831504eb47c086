"""Reads and checks the owner's declarations of webhooks, `WEBHOOKS_FOLDER/NAME.toml`, and signs what is sent to them.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com, version 1): HMAC-SHA256 over the id, the time and the body.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, field_validator

from responsa_etl.sources.declarations import PrivateHosts, list_granted, read_table
from responsa_server.agents.config.declarations import Declared, SecretTable, read_declarations
from responsa_server.agents.config.problems import Problem
from responsa_server.agents.engine.config import Table, Texts
from responsa_server.domain.notifications import NotifiedEvent, Webhook
from responsa_server.domain.rows import build
from responsa_server.domain.tools import SecretPlace
from responsa_server.outbound.addresses import OutboundError, origin_of, read_allowed

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  the beginning of secrets, not a secret
LEAST_KEY_BYTES: Final = 24


class WebhookTable(Table):
    """The keys of a declaration."""

    url: str = Field(
        min_length=1,
        max_length=2048,
        description="The https address to which events are sent by POST; http is allowed for a host of `allow_private`.",
    )
    secret: SecretTable = Field(
        description=(
            'The place of the signing key, `{ env = "NAME" }` or `{ file = "NAME" }`; a relative '
            "path begins at the webhooks' folder. The value is `whsec_` and at least 24 bytes in "
            "Base64, as `openssl rand -base64 32` makes them."
        )
    )
    tenants: Texts = Field(min_length=1, description='The tenants whose events are sent; `["*"]` means all.')
    events: list[
        Literal["source.failed", "source.confirmation_wanted", "source.succeeded", "ingestion.failed"]
    ] = Field(
        default=["source.failed", "source.confirmation_wanted", "ingestion.failed"],
        min_length=1,
        description="The events to send.",
    )
    allow_private: PrivateHosts = Field(
        (),
        description="Hosts and networks of the organisation that may be reached although their addresses are not public.",
    )
    seconds: float = Field(15.0, gt=0, le=60, description="The time limit of each attempt.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        try:
            origin_of(value)
        except OutboundError as error:
            raise ValueError(str(error)) from None
        return value


def read_webhooks(folder: Path) -> Sequence[Declared[Webhook]]:
    """The declared webhooks in a folder, as `read_declarations` reads them."""
    return read_declarations(folder, _read)


def _read(path: Path) -> Declared[Webhook]:
    def unfit(table: WebhookTable) -> Problem | None:
        origin = origin_of(table.url)
        if origin.scheme == "https" or _is_allowed_private(origin.host, table.allow_private):
            return None
        return Problem(path.name, "must begin with https://, or its host must be in allow_private", ("url",))

    name = path.stem
    table, problems = read_table(path, WebhookTable, "webhook", unfit)
    if table is None:
        return Declared(name, None, problems)
    secret = SecretPlace(table.secret.env, table.secret.file)
    events = [NotifiedEvent(event) for event in table.events]
    return Declared(name, build(Webhook, dict(table), name=name, secret=secret, events=events))


def _is_allowed_private(host: str, allow_private: Sequence[str]) -> bool:
    """Whether a host is one of the organisation's own, so that a connection without TLS stays inside."""
    allowed = read_allowed(allow_private)
    try:
        address = ip_address(host)
    except ValueError:
        return host in allowed.hosts
    return any(address in network for network in allowed.networks)


class DeclaredWebhooks:
    """The declared webhooks. Declarations are read at each use, so a change applies at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def of(self, tenant_id: str) -> Sequence[Webhook]:
        """The webhooks that receive events of the tenant."""
        return await list_granted(read_webhooks, self._folder, tenant_id)


def key_of(secret: str) -> bytes:
    """The key in a secret. Raises ValueError, whose message does not contain the secret."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) < LEAST_KEY_BYTES:
        raise ValueError(
            f"the secret must be “{SECRET_PREFIX}” and at least {LEAST_KEY_BYTES} bytes in Base64"
        )
    return key


def sign(key: bytes, message_id: str, seconds: int, body: bytes) -> Mapping[str, str]:
    """The headers of a message. seconds: the time since 1970."""
    content = f"{message_id}.{seconds}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{signature}",
    }
