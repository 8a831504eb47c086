"""What the services of the contract are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from responsa_server.agents.config.tools import LiveTools
from responsa_server.calls.health import PartReports
from responsa_server.calls.interceptors.lasting import CredentialWatch
from responsa_server.domain.agents import Agents, Catalogue
from responsa_server.domain.counters import Counters
from responsa_server.domain.model_settings import ModelAdministration
from responsa_server.domain.parts import Installation
from responsa_server.identity.accounts import Accounts
from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.limits import LimitBook, Limiter, QuotaAdministration
from responsa_server.identity.openid_provider import LinkedIdentities
from responsa_server.identity.service import Identity
from responsa_server.identity.tenants import TenantAdministration
from responsa_server.identity.users import Erasing, UserAdministration
from responsa_server.insight.reports import Insight
from responsa_server.library.library import Library
from responsa_server.stores.postgres.database import Database
from responsa_server.turns.conversations import Conversations
from responsa_server.turns.service import Turns


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that the services of the contract depend on. new_id: returns new UUIDv7 ids. watch: ends long calls
    when their caller's credential ends. limiter: the limits of callers; without it, callers are not limited.
    extensions: the services of optional parts."""

    database: Database
    new_id: Callable[[], UUID]
    identity: Identity
    watch: CredentialWatch
    accounts: Accounts
    identities: LinkedIdentities
    turns: Turns
    conversations: Conversations
    library: Library
    catalogue: Catalogue
    agents: Agents
    tools: LiveTools
    users: UserAdministration
    tenants: TenantAdministration
    cache: CredentialCache
    quotas: QuotaAdministration
    erasing: Erasing
    limits: LimitBook
    counters: Counters
    installation: Installation
    insight: Insight
    models: ModelAdministration
    reports: PartReports
    extensions: Sequence[object] = ()
    limiter: Limiter | None = None
