"""Tenants, users and their credentials."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    """What a user may do."""

    USER = "user"
    ADMIN = "admin"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller, identified by its credential. credential: "api_key" or "session"."""

    tenant_id: str
    user_id: UUID
    role: Role
    credential: str


@dataclass(frozen=True, slots=True)
class User:
    """A person or a program of a tenant."""

    id: UUID
    tenant_id: str
    display_name: str
    email: str
    role: Role
    create_time: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A credential for programs, without its secret, which is never stored."""

    id: UUID
    tenant_id: str
    user_id: UUID
    display_name: str
    prefix: str
    create_time: datetime
    expire_time: datetime | None
    revoke_time: datetime | None
