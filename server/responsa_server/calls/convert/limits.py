"""The limits of users."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Final
from uuid import UUID

from responsa.admin.v1 import user_limits_pb2
from responsa_server.calls.convert.values import uuid_of
from responsa_server.domain import names
from responsa_server.domain.limits import LIMIT_NAMES, UserLimits

_PREFIX: Final = "exceptions."
_SUFFIX: Final = "/limits"
PATHS: Final = tuple(_PREFIX + name for name in LIMIT_NAMES)
"""The paths of the fields that an update may change."""


def user_limits(value: UserLimits) -> user_limits_pb2.UserLimits:
    return user_limits_pb2.UserLimits(
        name=names.limits(value.user_id),
        effective=user_limits_pb2.Limits(**asdict(value.limits)),
        exceptions=user_limits_pb2.Limits(**value.exceptions),
    )


def user_id(field: str, name: str) -> UUID:
    """The user of `users/{uuid}/limits`. field: the path of the field in the request. Raises InvalidRequest."""
    return uuid_of(field, "users", name.removesuffix(_SUFFIX))


def changes(limits: user_limits_pb2.UserLimits, paths: Collection[str]) -> Mapping[str, int | None]:
    """The new exceptions by name; None for one to remove. paths: those of the update mask."""
    values = {field.name: int(value) for field, value in limits.exceptions.ListFields()}
    return {name: values.get(name) for name in sorted(path.removeprefix(_PREFIX) for path in paths)}
