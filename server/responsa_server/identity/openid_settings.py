"""The settings of OpenID Connect (`oidc`)."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from responsa_server.outbound.addresses import origin_of, read_allowed

TENANT_ID: Final = "^[a-z0-9][a-z0-9-]{0,62}$"


def is_loopback(host: str | None) -> bool:
    """Whether a host of a URL is this machine. Names other than `localhost` are not looked up."""
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def _secure(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("must be an https address; http is allowed only for this machine (127.0.0.1)")
    if not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must have a host, and no user, password, query or fragment")
    return url


def _reachable(url: str) -> str:
    origin_of(url)
    return _secure(url)


def _origin(url: str) -> str:
    if url and urlsplit(_secure(url)).path not in ("", "/"):
        raise ValueError("must be a host of its own, without a path, such as https://chat.example.org")
    return url.rstrip("/")


def _words(value: object) -> object:
    """Reads a list from an environment variable: a JSON array, or texts separated by spaces or commas."""
    if isinstance(value, str):
        return json.loads(value) if value.lstrip().startswith("[") else value.replace(",", " ").split()
    return value


def _private(entry: str) -> str:
    read_allowed([entry])
    return entry


def _domain(name: str) -> str:
    if not name.isascii() or "@" in name or "." not in name.strip("."):
        raise ValueError("must be the part of an e-mail address after @, such as example.org")
    return name.lower()


PrivateHosts = Annotated[
    tuple[Annotated[str, AfterValidator(_private)], ...], NoDecode, BeforeValidator(_words)
]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
ProviderId = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]


class OidcProviderSettings(BaseModel, extra="forbid"):
    """An OpenID Connect provider, which signs the people of one tenant in."""

    issuer: Annotated[str, AfterValidator(_reachable)] = Field(
        description=(
            "The issuer, such as `https://login.example.org/realms/acme`, exactly as in "
            "`ISSUER/.well-known/openid-configuration`."
        )
    )
    client_id: str = Field(min_length=1, max_length=256, description="The client id at the provider.")
    client_secret: SecretStr = Field(
        default=SecretStr(""),
        description=("The client secret, from the environment or a secret file. Empty for a public client."),
    )
    secret_in_body: bool = Field(
        default=False,
        description=(
            "Whether the secret is sent in the body (`client_secret_post`) instead of the header "
            "(`client_secret_basic`)."
        ),
    )
    tenant: Annotated[str, Field(pattern=f"{TENANT_ID}|^$")] = Field(
        default="",
        description="The tenant whose people it signs in. Empty: `default`.",
    )
    display_name: str = Field(
        default="",
        max_length=100,
        description="The name on the button that begins the sign-in. Empty: the provider's NAME.",
    )
    scopes: Words = Field(
        default=("openid", "email", "profile"),
        description="The scopes to request, separated by spaces; `openid` must be one.",
    )
    algorithms: Annotated[
        tuple[
            Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"],
            ...,
        ],
        NoDecode,
        BeforeValidator(_words),
    ] = Field(
        default=("RS256",),
        min_length=1,
        description="The signature algorithms of id tokens that are accepted.",
    )
    allowed_domains: Annotated[
        tuple[Annotated[str, AfterValidator(_domain)], ...], NoDecode, BeforeValidator(_words)
    ] = Field(
        default=(),
        description=(
            "Domains of verified e-mail addresses, separated by spaces, that need no invitation for the "
            "first sign-in."
        ),
    )
    allow_private: PrivateHosts = Field(
        default=(),
        description=(
            "Private addresses, networks such as `10.1.0.0/16` and host names that the provider's "
            "configuration may name, separated by spaces. The issuer's host always may."
        ),
    )
    command_line: bool = Field(
        default=False,
        description=(
            "Whether `responsa login --provider NAME` works. The provider must allow "
            "`http://127.0.0.1/callback/NAME` with any port (RFC 8252)."
        ),
    )
    role_claim: str = Field(
        default="",
        max_length=200,
        description=(
            "The claim that decides the role, such as `groups`: a text or a list of texts. A dot leads "
            "into an object, as in `realm_access.roles`. Empty: none does."
        ),
    )
    roles: dict[str, Literal["user", "admin"]] = Field(
        default={},
        description=(
            'The role for each value of `role_claim`, such as `{responsa-admins = "admin"}`. `admin` '
            "wins; without any, the role is `user`."
        ),
    )
    role_required: bool = Field(
        default=False,
        description="Whether people without a value in `roles` cannot sign in.",
    )
    update_profile: bool = Field(
        default=True,
        description=(
            "Whether each sign-in takes over the person's name and verified e-mail address from the "
            "provider. With `allowed_domains`, only addresses of these domains."
        ),
    )
    subject_claim: str = Field(
        default="",
        max_length=200,
        description=(
            "The claim, such as `employee_number`, with the person's subject, by which documents name "
            "the person. Empty: none."
        ),
    )

    groups_claim: str = Field(
        default="",
        max_length=200,
        description=(
            "The claim, such as `groups`, whose texts stand for the groups that administrators have mapped. "
            "Each sign-in replaces the person's memberships by this provider. Empty: none."
        ),
    )
    groups_days: int = Field(
        default=7,
        ge=1,
        le=365,
        description=(
            "For how many days after the sign-in memberships by `groups_claim` count, in all sessions and "
            "for all keys of the person."
        ),
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if "openid" not in self.scopes:
            raise ValueError("scopes must contain openid")
        if bool(self.roles) != bool(self.role_claim):
            raise ValueError("role_claim needs roles, and roles needs role_claim")
        if self.role_required and not self.role_claim:
            raise ValueError("role_required needs role_claim and roles")
        return self


class OidcSettings(BaseModel, extra="forbid"):
    """Sign-in with OpenID Connect."""

    public_url: Annotated[str, AfterValidator(_origin)] = Field(
        default="",
        description=(
            "The address at which browsers reach this server, such as `https://chat.example.org`. "
            "Providers send browsers back to `PUBLIC_URL/v1/oidc/NAME/callback`; connected programs "
            "find the authorisation server there, and get tokens for `PUBLIC_URL/mcp` or "
            "`PUBLIC_URL/a2a`. Empty: the host of the browser's request, with http for loopback names "
            "and https for others."
        ),
    )
    providers: dict[ProviderId, OidcProviderSettings] = {}
