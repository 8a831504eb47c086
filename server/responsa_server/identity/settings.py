"""The settings of browser sessions (`sessions`), the audit log (`audit`), passwords (`passwords`), tokens (`tokens`),
accounts (`accounts`), mails (`mail`), limits (`limits`) and quotas (`quotas`)."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, Field, SecretStr, model_validator

from responsa_contract import Registration
from responsa_server.domain.limits import MOST
from responsa_server.domain.people import Role
from responsa_server.domain.quotas import MOST as MOST_QUOTA
from responsa_server.domain.quotas import Quota, QuotaRules
from responsa_server.system.limiting import limit

MIN_SECRET_BYTES: Final = 32
"""The minimum length of the installation's secret."""


class SessionSettings(BaseModel, extra="forbid"):
    """Browser sessions."""

    code_seconds: int = limit(600, 30, 3600, "How long a single-use session code is valid.")
    session_seconds: int = limit(43_200, 300, 2_592_000, "How long a browser session is valid.")
    secure_cookie: bool = Field(
        default=False,
        description=(
            "Whether browsers send the session cookie only over TLS. Turn it on if users connect over TLS."
        ),
    )


class AuditSettings(BaseModel, extra="forbid"):
    """The audit log."""

    retention_days: int = limit(400, 30, 36_500, "How long the events of the audit log are stored.")


class PasswordSettings(BaseModel, extra="forbid"):
    """Passwords, and attempts to sign in."""

    attempts_per_account: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description=(
            "Failed sign-ins with one e-mail address of a tenant from one network address, in 15 minutes. "
            "Addresses without an account count, too."
        ),
    )
    attempts_per_account_everywhere: int = limit(
        100, 1, 1_000_000, "The same from all network addresses together, at least `attempts_per_account`."
    )
    attempts_per_address: int = limit(
        100, 1, 1_000_000, "Failed sign-ins from one network address (IPv6: /64) in 15 minutes."
    )
    reset_code_seconds: int = limit(1800, 60, 86_400, "How long a code that resets a password is valid.")


class TokenSettings(BaseModel, extra="forbid"):
    """Access tokens and refresh tokens."""

    secret_file: Path | None = Field(
        default=None,
        description=(
            "A file with a secret of at least 32 bytes, which encrypts the keys that sign tokens and "
            "authenticates messages between processes. All processes on one database need the same. "
            "Empty: `token-secret` in the data folder, which the first start makes."
        ),
    )
    access_seconds: int = limit(900, 60, 3600, "How long an access token is valid, unless its session ends.")
    refresh_seconds: int = limit(
        2_592_000, 3600, 31_536_000, "How long a session without a browser lasts after its last refresh."
    )
    session_seconds: int = limit(
        31_536_000, 3600, 315_360_000, "How long a session without a browser lasts in all."
    )
    key_days: int = limit(90, 1, 3650, "The age at which a signing key is replaced. Nobody is signed out.")


class MailTls(StrEnum):
    """How the connection to the mail server is encrypted. STARTTLS: after its beginning. TLS: from the beginning. NONE: not at all."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class MailSettings(BaseModel, extra="forbid"):
    """The server that sends mails."""

    host: str = Field(
        default="",
        max_length=253,
        description="The mail server (SMTP). Empty: no e-mails are sent.",
    )
    port: int = Field(default=587, ge=1, le=65_535, description="The port of the mail server.")
    tls: MailTls = Field(
        default=MailTls.STARTTLS,
        description=(
            "`starttls`, `tls` (from the beginning, usually on port 465) or `none`. No mail goes to a "
            "server that does not offer it."
        ),
    )
    user: str = Field(
        default="",
        max_length=254,
        description="The user name for the mail server. Empty: no sign-in there.",
    )
    password: SecretStr = Field(
        default=SecretStr(""), description="The password of `mail.user`. Not allowed with `tls` = `none`."
    )
    sender: str = Field(
        default="",
        max_length=254,
        description="The address that e-mails come from, such as `responsa@example.org`. Needed with `host`.",
    )
    page_url: str = Field(
        default="",
        max_length=500,
        pattern=r"^(https?://[^\s/#?]+(/[^\s#?]*)?)?$",
        description=(
            "The page's address for links in e-mails, such as `https://responsa.example.org`. On "
            "loopback, the default is `http://localhost` with `port`; otherwise e-mails need it."
        ),
    )

    notices: bool = Field(
        default=True,
        description=(
            "Whether administrators get an e-mail when documents could not be ingested, and when a run of a source "
            "fails or needs a confirmation, at most one of each kind in an hour."
        ),
    )

    @property
    def configured(self) -> bool:
        return bool(self.host)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.host and "@" not in self.sender:
            raise ValueError(
                "mail.sender must be the address that mails come from, such as responsa@example.org"
            )
        if self.password.get_secret_value() and self.tls is MailTls.NONE:
            raise ValueError(
                "mail.password would cross the network unencrypted; set mail.tls to starttls or tls"
            )
        return self


class AccountSettings(BaseModel, extra="forbid"):
    """Accounts and their registration."""

    registration: Registration = Field(
        default=Registration.INVITED,
        description=(
            "Who may register: `closed`, nobody; `invited`, whoever has the code of an invitation; "
            "`open`, anyone. With `mail.host`, the person confirms the address first, unless an "
            "invitation names it. Without, the server starts with `open` only on loopback or with "
            "`accounts.unproved_addresses`."
        ),
    )
    unproved_addresses: bool = Field(
        default=False,
        description=(
            "Whether the server starts with `registration` = `open` on any address though it sends no "
            "e-mails. Anyone can then register with somebody else's address."
        ),
    )


def _limit_quota(description: str) -> int | None:
    quota: int | None = Field(default=None, ge=0, le=MOST_QUOTA, description=description)
    return quota


class QuotaSettings(BaseModel, extra="forbid"):
    """The quota of each user, of whatever role. Administrators can set other limits for single users."""

    tokens_per_day: int | None = _limit_quota(
        "The most tokens that models may read and write for one user's questions in a day (UTC). Empty: no limit."
    )
    tokens_per_month: int | None = _limit_quota("The same in a month (UTC).")
    cost_micros_per_day: int | None = _limit_quota(
        "The most that one user's questions may cost in a day (UTC), in millionths of a US dollar. Empty: no limit. A question to "
        "a model whose price is not known is refused."
    )
    cost_micros_per_month: int | None = _limit_quota("The most that they may cost in a month (UTC).")

    @property
    def quota(self) -> Quota:
        return Quota(**self.model_dump())

    @property
    def rules(self) -> QuotaRules:
        return QuotaRules(dict.fromkeys(Role, self.quota))


def _limit(default: int, description: str) -> int:
    """A field for a limit. 0 switches the limit off."""
    field: int = Field(default=default, ge=0, le=MOST, description=description)
    return field


_STREAMS: Final = "Long calls, such as streams of turns, at a time."
_PENDING: Final = "Turns that have not ended."
_STORAGE: Final = (
    "Bytes that the user keeps: originals and texts of the own documents; questions, answers and "
    "citations; titles and labels of conversations."
)
_SEARCHES: Final = "Searches at a time in one process. Further ones wait, up to 32 of them."


class UserLimitSettings(BaseModel, extra="forbid"):
    """The limits of each user with one role. A user's API keys, sessions and tokens share them; `LimitBook` has the others."""

    messages_per_minute: int = _limit(10, "Questions in any 60 seconds.")
    calls_per_minute: int = _limit(3_000, "Calls in 60 seconds. A stream or an upload counts as one.")
    streams: int = _limit(64, _STREAMS)
    pending_turns: int = _limit(20, _PENDING)
    storage_bytes: int = _limit(16 * 1024**3, _STORAGE)
    searches: int = _limit(4, _SEARCHES)


class AdministratorLimitSettings(UserLimitSettings):
    """The limits of each administrator. Open streams, turns that have not ended, calls and stored bytes bound them;
    questions are not counted."""

    messages_per_minute: int = _limit(0, "Questions in any 60 seconds.")
    streams: int = _limit(128, _STREAMS)
    pending_turns: int = _limit(128, _PENDING)
    calls_per_minute: int = _limit(12_000, "Calls in 60 seconds. A stream or an upload counts as one.")
    storage_bytes: int = _limit(256 * 1024**3, _STORAGE)
    searches: int = _limit(16, _SEARCHES)


class ServiceLimitSettings(AdministratorLimitSettings):
    """The limits of each user with the role service."""

    streams: int = _limit(400, _STREAMS)
    pending_turns: int = _limit(400, _PENDING)
    searches: int = _limit(400, _SEARCHES)


class WidgetLimitSettings(BaseModel, extra="forbid"):
    """The limits of each key of a widget, for the visitors of its pages. The limits and quotas of the key's user apply besides."""

    messages_per_minute: int = _limit(
        10,
        (
            "Questions from one network address in 60 seconds. Name a proxy in `trusted_proxies`, or all "
            "visitors share its address."
        ),
    )
    messages_per_day: int = _limit(1_000, "Questions from all visitors in 24 hours.")


class TenantLimitSettings(BaseModel, extra="forbid"):
    """The limits of each tenant, for all its users together."""

    calls_per_minute: int = _limit(60_000, "Calls in 60 seconds.")
    streams: int = _limit(1_000, _STREAMS)
    pending_turns: int = _limit(500, _PENDING)
    storage_bytes: int = _limit(1024**4, "Bytes of the tenant's documents: originals and texts.")


class AddressLimitSettings(BaseModel, extra="forbid"):
    """The limits of each network address, whoever signs in from there. If a proxy stands in front of the one port, all
    its callers share one address."""

    calls_per_minute: int = _limit(30_000, "Calls in 60 seconds, with sign-ins and refused credentials.")
    streams: int = _limit(1_000, _STREAMS)
    connections: int = _limit(500, "Open connections to the one port. Envoy closes each further one at once.")


class LimitSettings(BaseModel, extra="forbid"):
    """Limits per user, tenant and network address. All servers on one Redis share one count. Administrators set
    exceptions for single users."""

    user: UserLimitSettings = UserLimitSettings()
    admin: AdministratorLimitSettings = AdministratorLimitSettings()
    service: ServiceLimitSettings = ServiceLimitSettings()
    widget: WidgetLimitSettings = WidgetLimitSettings()
    tenant: TenantLimitSettings = TenantLimitSettings()
    address: AddressLimitSettings = AddressLimitSettings()
    generations_per_minute: int = _limit(
        60,
        (
            "Texts that one user may let an agent's model write without a question, in 60 seconds "
            "(`GenerateText`, and the models `…:chores` of OpenAI's API)."
        ),
    )
    without_redis: int = Field(
        default=4,
        ge=2,
        le=1000,
        description=(
            "Without Redis, each process counts on its own and divides its limits on calls, uploads, streams "
            "and sockets by this: at least the number of servers, to which `responsa up` raises it. "
            "Messages are then counted in PostgreSQL, and half of `messages_per_minute` is allowed."
        ),
    )
