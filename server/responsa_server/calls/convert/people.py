"""Users with their limits and credentials, service grants, tenants, and the status of the system."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Final
from uuid import UUID

from responsa.admin.v1 import (
    admin_service_pb2,
    audit_event_pb2,
    service_grant_pb2,
    system_status_pb2,
    tenant_pb2,
    user_limits_pb2,
    user_quota_pb2,
)
from responsa.auth.v1 import (
    api_key_pb2,
    deletion_receipt_pb2,
    session_pb2,
    sign_in_pb2,
    user_pb2,
    user_usage_pb2,
)
from responsa.knowledge.v1 import reader_pb2
from responsa_server.calls.convert import enums, messages
from responsa_server.calls.convert.values import timestamp, to_datetime, uuid_of
from responsa_server.domain import names
from responsa_server.domain.accounts import SignInProvider
from responsa_server.domain.agents import Catalogue
from responsa_server.domain.counters import Count
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.limits import LIMIT_NAMES, UserLimits
from responsa_server.domain.parts import Installation, MigrationState, PartReport
from responsa_server.domain.people import ApiKey, Erasure, NewKey, Role, User, UserChange
from responsa_server.domain.quotas import LIMITS, Metric, Period, UserUsage, contract_name
from responsa_server.domain.rows import Row
from responsa_server.domain.tenants import Tenant
from responsa_server.domain.unexpected import ErrorGroup
from responsa_server.identity.accounts import SignedIn
from responsa_server.identity.service import require_email
from responsa_server.identity.tenants import NewTenant


def user(value: User) -> user_pb2.User:
    return messages.message(
        user_pb2.User,
        value,
        owns_installation=value.owner,
    )


def role(user: user_pb2.User) -> Role | None:
    """The role of a user in a request; None if it is unset. Raises InvalidRequest for a number that the contract does not know."""
    value = enums.ROLE.value(user.role)
    if value is None and user.role != user_pb2.USER_ROLE_UNSPECIFIED:
        raise _no_role("leave it unset for USER")
    return value


def user_change(user: user_pb2.User, wanted: frozenset[str]) -> UserChange:
    """Convert an update. wanted: the names of the fields to change. Raises InvalidRequest if the mask names a role and
    the role is unset or unknown."""
    role = enums.ROLE.value(user.role) if "role" in wanted else None
    if "role" in wanted and role is None:
        raise _no_role("leave it out of update_mask")
    return UserChange(role=role, **{name: getattr(user, name) for name in wanted - {"role"}})


def _no_role(otherwise: str) -> InvalidRequest:
    every = ", ".join(role.name for role in Role)
    return InvalidRequest.of_field(
        "user.role", "enum.defined_only", f"must be one of {every}, or {otherwise}"
    )


_QUOTA_FIELDS: Final[Mapping[str, str]] = {contract_name(name): name for name in LIMITS}
QUOTA_FIELDS: Final = tuple(_QUOTA_FIELDS)
"""The fields of a UserQuota that administrators may change."""


def quota_user(field: str, name: str) -> UUID:
    """The user of `users/{uuid}/quota`. field: the path of the name in the request. Raises InvalidRequest."""
    return uuid_of(field, "users", name.removesuffix("/quota"))


def quota_change(
    quota: user_quota_pb2.UserQuota, wanted: frozenset[str]
) -> tuple[Mapping[str, int | None], frozenset[str]]:
    """Convert an update: the new limits, None to lift a limit, and the limits that fall back to the role's. wanted: the
    names of the fields to change."""
    limits: dict[str, user_quota_pb2.QuotaLimit] = {
        field.name: limit for field, limit in quota.ListFields() if field.name in wanted
    }
    change = {
        _QUOTA_FIELDS[name]: None if limit.unlimited else limit.at_most for name, limit in limits.items()
    }
    return change, frozenset(_QUOTA_FIELDS[name] for name in wanted if name not in limits)


def user_quota(value: UserUsage) -> user_quota_pb2.UserQuota:
    limits = value.exception.limits
    return user_quota_pb2.UserQuota(
        name=names.quota(value.user_id),
        usage=user_usage(value),
        etag=value.etag,
        **{name: _limit(limits[field]) for name, field in _QUOTA_FIELDS.items() if field in limits},
    )


def _limit(value: int | None) -> user_quota_pb2.QuotaLimit:
    if value is None:
        return user_quota_pb2.QuotaLimit(unlimited=True)
    return user_quota_pb2.QuotaLimit(at_most=value)


def user_usage(value: UserUsage) -> user_usage_pb2.UserUsage:
    return user_usage_pb2.UserUsage(
        user=names.user(value.user_id),
        day=_period(value, Period.DAY),
        month=_period(value, Period.MONTH),
        storage=user_usage_pb2.StorageUsage(
            stored_bytes=value.stored.size_bytes,
            limit_bytes=value.limits.storage_bytes or None,
            document_count=value.stored.documents,
            collection_count=value.stored.collections,
            collection_limit=value.limits.collections or None,
            conversation_count=value.stored.conversations,
            conversation_limit=value.limits.conversations or None,
        ),
    )


def _period(value: UserUsage, period: Period) -> user_usage_pb2.PeriodUsage:
    usage = value.usage
    return user_usage_pb2.PeriodUsage(
        start_time=timestamp(period.begin(usage.time)),
        reset_time=timestamp(period.end(usage.time)),
        message_count=usage.day_messages if period is Period.DAY else usage.month_messages,
        tokens=_quota(value, Metric.TOKENS, period),
        cost_usd_micros=_quota(value, Metric.COST_MICROS, period),
    )


def _quota(value: UserUsage, metric: Metric, period: Period) -> user_usage_pb2.QuotaUsage:
    return user_usage_pb2.QuotaUsage(
        used=value.usage.total(metric, period),
        reserved=value.usage.reserved.of(metric),
        limit=value.quota.limit(metric, period),
    )


def heir(named: str) -> UUID | str | None:
    """The user who receives the collections of a deleted user: the id, or the folded e-mail address; None for "". Raises InvalidRequest."""
    if not named:
        return None
    field = "hand_over_to"
    return require_email(named, field) if "@" in named else uuid_of(field, "users", named)


def deletion_receipt(value: Erasure) -> deletion_receipt_pb2.DeletionReceipt:
    return deletion_receipt_pb2.DeletionReceipt(
        user=names.user(value.user_id),
        begin_time=timestamp(value.begin_time),
        complete_time=timestamp(value.end_time),
        **{kind.value: count for kind, count in value.counts.items()},
    )


def audit_event(value: Row) -> audit_event_pb2.AuditEvent:
    return messages.message(
        audit_event_pb2.AuditEvent,
        value,
        added_readers=[_reader(added_reader) for added_reader in value.added_readers],
        removed_readers=[_reader(removed_reader) for removed_reader in value.removed_readers],
    )


def _reader(written: str) -> reader_pb2.Reader:
    if not written:
        return reader_pb2.Reader(everyone=True)
    if names.user_in(written) is not None:
        return reader_pb2.Reader(user=written)
    if written.startswith("groups/"):
        return reader_pb2.Reader(group=written)
    return reader_pb2.Reader(role=enums.ROLE.number(Role(written)))


def new_key(api_key: api_key_pb2.ApiKey, agents: Catalogue) -> NewKey:
    """What the caller chooses for a new key. Raises InvalidRequest, and NotFound if no agent has the id of its agent."""
    if api_key.role not in (user_pb2.USER_ROLE_UNSPECIFIED, user_pb2.USER_ROLE_USER):
        raise InvalidRequest.of_field(
            "api_key.role", "enum.in", "must be USER, or unset for a key with the role of its owner"
        )
    ends = (
        to_datetime("api_key.expire_time", api_key.expire_time) if api_key.HasField("expire_time") else None
    )
    if api_key.agent:
        agents.card(names.parse_agent_version(api_key.agent)[0])
    chosen = NewKey(**{field.name: getattr(api_key, field.name) for field in fields(NewKey)})
    return replace(chosen, expire_time=ends, role=enums.ROLE.value(api_key.role))


def api_key(value: ApiKey) -> api_key_pb2.ApiKey:
    return messages.message(
        api_key_pb2.ApiKey,
        value,
        owner=names.user(value.user_id),
        parent_key="" if value.parent_id is None else names.api_key(value.parent_id),
    )


def session(value: Row, current: UUID | None) -> session_pb2.Session:
    """Convert a session. current: the id of the session that makes the call, or None."""
    return messages.message(session_pb2.Session, value, current=value.id == current)


def oidc_provider(value: SignInProvider) -> sign_in_pb2.OidcProvider:
    return sign_in_pb2.OidcProvider(
        name=names.oidc_provider(value.id), display_name=value.display_name or value.id
    )


def identity(value: Row, provider: SignInProvider | None) -> sign_in_pb2.Identity:
    return messages.message(
        sign_in_pb2.Identity,
        value,
        provider=provider and names.oidc_provider(provider.id),
    )


def session_tokens(value: SignedIn) -> session_pb2.SessionTokens:
    return messages.message(session_pb2.SessionTokens, value)


def jwk(kid: str, public: str) -> dict[str, str]:
    """Convert a public key to a JSON Web Key (RFC 8037)."""
    return {"kty": "OKP", "crv": "Ed25519", "x": public, "kid": kid, "use": "sig", "alg": "EdDSA"}


def system_status(
    installation: Installation,
    answer_model: str,
    migration: MigrationState,
    parts: Sequence[tuple[str, PartReport]],
    counts: Sequence[Count],
    errors: Sequence[ErrorGroup],
) -> system_status_pb2.SystemStatus:
    """Convert the status of the system. answer_model: the models of answers, in their order. parts: the name and the
    report of each part, in display order."""
    return system_status_pb2.SystemStatus(
        version=installation.version,
        migration=migration.last,
        migrations_pending=migration.pending,
        parts=[messages.message(system_status_pb2.PartStatus, report, part=name) for name, report in parts],
        embedding_model=installation.embedding_model,
        answer_model=answer_model,
        counters=[messages.message(system_status_pb2.Counter, count) for count in counts],
        errors=[messages.message(system_status_pb2.UnexpectedError, group) for group in errors],
    )


_PREFIX: Final = "exceptions."
_SUFFIX: Final = "/limits"
LIMIT_PATHS: Final = tuple(_PREFIX + name for name in LIMIT_NAMES)
"""The paths of the fields that an update may change."""


def user_limits(value: UserLimits) -> user_limits_pb2.UserLimits:
    return user_limits_pb2.UserLimits(
        name=names.limits(value.user_id),
        effective=user_limits_pb2.Limits(**asdict(value.limits)),
        exceptions=user_limits_pb2.Limits(**value.exceptions),
    )


def limits_user(field: str, name: str) -> UUID:
    """The user of `users/{uuid}/limits`. field: the path of the field in the request. Raises InvalidRequest."""
    return uuid_of(field, "users", name.removesuffix(_SUFFIX))


def limit_changes(limits: user_limits_pb2.UserLimits, paths: Collection[str]) -> Mapping[str, int | None]:
    """The new exceptions by name; None for one to remove. paths: those of the update mask."""
    values = {field.name: int(value) for field, value in limits.exceptions.ListFields()}
    return {name: values.get(name) for name in sorted(path.removeprefix(_PREFIX) for path in paths)}


def tenant(value: Tenant) -> tenant_pb2.Tenant:
    return messages.message(
        tenant_pb2.Tenant,
        value,
        name=names.tenant(value.id),
        erase_end_time=timestamp(value.end_time),
        erased_counts=value.erased,
    )


def new_tenant(value: NewTenant) -> admin_service_pb2.CreateTenantResponse:
    return admin_service_pb2.CreateTenantResponse(
        tenant=tenant(value.tenant),
        invitation_code=value.code,
        invitation_expire_time=timestamp(value.expire_time),
        administrator=None if value.administrator is None else user(value.administrator),
        api_key_secret=value.secret,
    )


def service_grant(value: Row) -> service_grant_pb2.ServiceGrant:
    return messages.message(service_grant_pb2.ServiceGrant, value, all_users=value.user_id is None or None)
