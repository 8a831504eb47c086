"""All settings of the server. Only this module reads them from the environment.

The sources of a setting, in decreasing order of precedence, are the arguments of the command line, environment
variables, secret files (one file per setting in the folder `RESPONSA_SECRETS_DIR`), the TOML file (`RESPONSA_CONFIG`,
or `responsa.toml` in the data folder), and the default. Each group of settings is a class in the `settings.py` of the
package that reads the group. `docs/settings.md` is generated from all of these classes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Self, cast
from uuid import UUID

import rtoml
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NestedSecretsSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from responsa_server.agents.config.settings import AgentSettings, CitationSettings, ToolSettings
from responsa_server.app.source_settings import SourceSettings
from responsa_server.domain.addresses import LOOPBACK_HOSTS, Network, parse_network
from responsa_server.domain.names import parse_uuid
from responsa_server.identity.openid_settings import OidcSettings
from responsa_server.identity.program_settings import ProgramSettings
from responsa_server.identity.settings import (
    AccountSettings,
    AuditSettings,
    LimitSettings,
    MailSettings,
    PasswordSettings,
    QuotaSettings,
    Registration,
    SessionSettings,
    TokenSettings,
)
from responsa_server.ingest.settings import IngestionSettings
from responsa_server.insight.settings import InsightSettings
from responsa_server.providers.settings import ADAPTERS, RERANKING_VENDORS, ModelSettings
from responsa_server.search.settings import RetrievalSettings
from responsa_server.stores.settings import CacheSettings
from responsa_server.system.instance import DEFAULT_HOME, DEFAULT_PORT, locate
from responsa_server.system.limiting import limit
from responsa_server.telemetry.settings import Otlp, TelemetrySettings
from responsa_server.transports.openai.settings import OpenAiApiSettings
from responsa_server.transports.ws.settings import SocketSettings
from responsa_server.turns.settings import TurnSettings

# The maximum length of a value that an error message shows. It is shorter than any key, because a user may have pasted
# a key into the wrong setting.
_MOST_SHOWN: Final = 20
_MOST_NAME: Final = 60
_MOST_MARK_BYTES: Final = 256 * 1024
# Variables that are not settings, although they have the prefix of settings.
_COMMANDS: Final = frozenset(
    {
        "RESPONSA_CONFIG",
        "RESPONSA_SECRETS_DIR",
        "RESPONSA_URL",
        "RESPONSA_API_KEY",
        "RESPONSA_API_KEY_FILE",
    }
)


def _split(value: object) -> object:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _database(url: SecretStr) -> SecretStr:
    # Imported late, because the import is slow, and most installations use the embedded database.
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(url.get_secret_value())
    except ProgrammingError:
        # The driver's message may quote the password.
        raise ValueError(
            "this is not the URL of a PostgreSQL database, such as postgresql://user:password@host:5432/database; "
            "in the user and the password, write % as %25, / as %2F and @ as %40"
        ) from None
    return url


def _redis(url: SecretStr) -> SecretStr:
    # Imported late, for the same reason as the database's driver.
    from redis.connection import parse_url  # pyright: ignore[reportUnknownVariableType]  # untyped there

    try:
        parse_url(url.get_secret_value())
    except ValueError:
        raise ValueError(
            "this is not the URL of a Redis server, such as redis://:password@host:6379/0, rediss://… for TLS or unix://…"
        ) from None
    return url


def _networks(value: object) -> object:
    names = _split(value)
    if not isinstance(names, list | tuple):
        return names
    return tuple(
        parse_network(name) if isinstance(name, str) else name for name in cast("Sequence[object]", names)
    )


def _title(name: str) -> str:
    if not name.strip() or len(name) > _MOST_NAME or not name.isprintable():
        raise ValueError(f"must be one line with 1 to {_MOST_NAME} characters")
    return name.strip()


def _mark(path: Path | None) -> Path | None:
    if path is None:
        return None
    if path.suffix.lower() not in (".svg", ".png"):
        raise ValueError("must name a file that ends with .svg or .png")
    if not path.is_file() or path.stat().st_size > _MOST_MARK_BYTES:
        raise ValueError("must name a file of at most 256 KiB")
    return path


def _widget_keys(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        key, _, origin = name.partition("=")
        try:
            parse_uuid("apiKeys", key)
        except ValueError:
            origin = ""
        if not origin:
            raise ValueError(
                f"{name!r} is not a key with its origin, such as apiKeys/0190f3a2-…=https://www.example.org"
            )
    return names


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A list of names. In an environment variable, commas separate the names; in TOML, the list is an array."""
WidgetKeys = Annotated[Names, AfterValidator(_widget_keys)]
"""API keys with the origins whose pages may use them."""
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database)]
"""The URL of a PostgreSQL database, in a form that the driver can read."""
RedisUrl = Annotated[SecretStr, AfterValidator(_redis)]
"""The URL of a Redis server, in a form that the client can read."""
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)]
"""A list of networks, written like a list of names."""


def _vendor_keys(folder: str | None) -> Mapping[str, Mapping[str, str]]:
    """The keys of vendors in variables such as OPENAI_API_KEY, or in files with such names in the folder of secrets."""
    keys = dict[str, Mapping[str, str]]()
    for vendor in (*ADAPTERS, *RERANKING_VENDORS):
        name = f"{vendor.upper()}_API_KEY"
        file = Path(folder or "", name)
        written = file.read_text(encoding="utf-8").strip() if folder and file.is_file() else ""
        if key := os.environ.get(name) or written:
            keys[vendor] = {"api_key": key}
    return keys


class SettingsError(Exception):
    """At least one setting is wrong. The message names each wrong setting, the mistake, and where the setting can be
    set.
    """


class Environment(StrEnum):
    """The environment in which this server runs. In PRODUCTION, gRPC reflection is off by default, and the server does
    not start with scripted models or the testing agent. Unconfined parsing is on by default in DEVELOPMENT alone.
    """

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


class ServeRole(StrEnum):
    """The tasks of a server process: whether it accepts calls, runs turns, and runs jobs, which ingest documents, run
    sources and send mails."""

    ALL = "all"
    ANSWERS = "answers"
    RPC = "rpc"
    WORKER = "worker"
    JOBS = "jobs"

    @property
    def accepts_calls(self) -> bool:
        return self in (ServeRole.ALL, ServeRole.ANSWERS, ServeRole.RPC)

    @property
    def runs_turns(self) -> bool:
        return self in (ServeRole.ALL, ServeRole.ANSWERS, ServeRole.WORKER)

    @property
    def runs_jobs(self) -> bool:
        return self in (ServeRole.ALL, ServeRole.WORKER, ServeRole.JOBS)


class LogLevel(StrEnum):
    """The least severe level that is logged: `debug`, `info`, `warning` or `error`."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class TestingSettings(BaseModel, extra="forbid"):
    """An agent for trials and for tests that interrupt turns."""

    agent: bool = Field(
        default=False,
        description=(
            "Whether the agent `testing` is available, which follows a script in the question. Not "
            "allowed in production."
        ),
    )
    model_url: str = Field(
        default="",
        description=(
            "The OpenAI-compatible server that the testing agent calls. Empty: a scripted model in the "
            "server's process."
        ),
    )
    tool_url: str = Field(
        default="",
        description=(
            "The endpoint that the testing agent's tool calls. Empty: one in the server's own process, "
            "which counts the calls."
        ),
    )


class Settings(BaseSettings):
    """The server's settings."""

    model_config = SettingsConfigDict(
        env_prefix="RESPONSA_",
        env_nested_delimiter="__",
        extra="ignore",
        validate_default=True,
        frozen=True,
        env_ignore_empty=True,
    )

    home: Annotated[Path, Field(description="The data folder of this instance.")] = DEFAULT_HOME
    port: int = limit(DEFAULT_PORT, 1, 65_535, "The port for everything: gRPC, gRPC-Web, REST and the page.")
    authorities: FilePath | None = Field(
        default=None,
        description=(
            "A PEM file with certificate authorities to trust beside the system's, for all outbound "
            "connections: models, sources, sign-in providers, tools, mail, webhooks. SSL_CERT_FILE and SSL_CERT_DIR add others."
        ),
    )
    listen: str = Field(
        default="127.0.0.1",
        description="The address to listen on. Any but loopback opens the port to the network.",
    )
    environment: Environment = Field(
        default=Environment.DEVELOPMENT,
        description=(
            "`development`, `staging` or `production`. In production, reflection is off by default, and "
            "scripted models and the testing agent are not allowed. In staging and production, "
            "unconfined parsing is off by default."
        ),
    )
    allowed_hosts: Names = Field(
        default=(),
        description=(
            "Host names, separated by commas, that requests may use in addition to the loopback names. "
            "Health checks, and programs that send a credential, may use any. A name without a port has "
            "the port of `port`; for another, write `name:port`, and behind a TLS proxy `name:443`."
        ),
    )
    allowed_origins: Names = Field(
        default=(),
        description=(
            "Origins, separated by commas, whose pages may send requests (CORS) with a token or a key, "
            "such as `https://app.example.org`. The session cookie counts only for the server's own "
            "origins."
        ),
    )
    widget_keys: WidgetKeys = Field(
        default=(),
        description=(
            "Keys of widgets, each with an origin on whose pages it works: "
            "`apiKeys/{uuid}=https://www.example.org`, separated by commas. For other keys, a line "
            "changes nothing."
        ),
    )
    trusted_proxies: Networks = Field(
        default=(),
        description=(
            "Addresses and networks (CIDR), separated by commas, of the proxies in front of the port, "
            "such as `127.0.0.1,10.0.0.0/24`. A caller's address is then the last one in "
            "`X-Forwarded-For` that is not in them, and the limit of connections does not apply to "
            "them. Empty: the header is ignored."
        ),
    )
    reflection: bool | None = Field(
        default=None,
        description="Whether gRPC reflection is served. Empty: except in production.",
    )
    log_level: LogLevel = Field(
        default=LogLevel.INFO,
        description="The least severe level that is logged: `debug`, `info`, `warning` or `error`.",
    )
    drain_seconds: float = limit(
        5.0, 0, 600, "How long calls in progress may continue when the server stops."
    )
    notice_seconds: float = Field(
        default=1.5,
        ge=0,
        le=600,
        description=(
            "How long a server takes calls after SIGTERM while its health checks fail, so that Envoy "
            "stops sending calls before it drains. SIGINT skips this."
        ),
    )
    watchdog_seconds: float = Field(
        default=10.0,
        ge=0,
        le=3600,
        description=(
            "A server whose event loop stands still for this long logs where its threads are and ends "
            "itself with the exit code 70. Time in which it waits for a core does not count. At most 10 seconds "
            "under `responsa up`, and four fifths of systemd's `WatchdogSec`. 0 switches this off."
        ),
    )
    role: ServeRole = Field(
        default=ServeRole.ALL,
        description=(
            "What `serve` does: `rpc` accepts calls, `worker` runs turns and ingests documents, `all` "
            "does both; `answers` accepts calls and runs turns, `jobs` ingests documents. `--role` "
            "overrides it."
        ),
    )
    grpc_listen: str = Field(
        default="",
        description=(
            "Where `serve` listens for gRPC: `unix:PATH` or `HOST:PORT`. Empty: a socket in the data "
            "folder. `--listen` overrides it."
        ),
    )
    http_listen: str = Field(
        default="",
        description=(
            "Where `serve` listens for HTTP: `unix:PATH` or `HOST:PORT`. Empty: a socket in the data "
            "folder, or no HTTP if `grpc_listen` is set. A process that accepts no calls serves only "
            "`/health`. `--http-listen` overrides it."
        ),
    )
    servers: int | None = Field(
        default=None,
        ge=1,
        le=128,
        description=(
            "How many processes `responsa up` starts to accept calls and run turns. Empty: one on one "
            "or two cores, otherwise 0.55 for each core, and never more than memory and the connections "
            "of DATABASE_URL allow."
        ),
    )
    page: Path = Field(
        default=locate("clients/web/dist", "page"), description="The folder of the built page."
    )
    page_name: Annotated[str, AfterValidator(_title)] = Field(
        default="Responsa",
        description="What the page calls this installation, in at most 60 characters.",
    )
    page_mark: Annotated[Path | None, AfterValidator(_mark)] = Field(
        default=None,
        description=(
            "The page's mark in place of Responsa's: a square SVG or PNG file of at most 256 KiB, read "
            "at the start."
        ),
    )
    docs: Annotated[Path | None, BeforeValidator(lambda value: None if value in ("", "none") else value)] = (
        Field(
            default=locate("", ""),
            description=(
                "`responsa up` loads `docs/*.md` of this folder into the collection `responsa-docs`; by "
                "default, the eighteen pages of Responsa's documentation that people ask about most. `none`: "
                "nothing."
            ),
        )
    )

    database_url: DatabaseUrl | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL", "database_url"),
        description=(
            "The URL of a PostgreSQL 18 with pgvector to use instead of the embedded one. Its user must "
            "own the database and may create roles."
        ),
    )
    database_app_url: DatabaseUrl | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_APP_URL", "database_app_url"),
        description="The URL for the role `responsa_app`. Empty: DATABASE_URL and `SET ROLE`.",
    )
    database_log_url: DatabaseUrl | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_LOG_URL", "database_log_url"),
        description="The URL for the role `responsa_log`. Empty: DATABASE_URL and `SET ROLE`.",
    )
    database_pool: int = Field(
        default=10,
        ge=2,
        le=200,
        description=(
            "The most connections in each of the two large pools of a process. Each process opens up to eleven more."
        ),
    )
    redis_url: RedisUrl | None = Field(
        default=None,
        validation_alias=AliasChoices("REDIS_URL", "redis_url"),
        description=(
            "The URL of a Redis (6.2 or newer) to use instead of the embedded one. It holds only cached "
            "data and hints."
        ),
    )

    qdrant_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("QDRANT_API_KEY", "qdrant_api_key"),
        description="The API key of the Qdrant server that `retrieval.vector_store` names.",
    )

    turns: TurnSettings = TurnSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    cache: CacheSettings = CacheSettings()
    ingestion: IngestionSettings = IngestionSettings()
    insight: InsightSettings = InsightSettings()
    sessions: SessionSettings = SessionSettings()
    audit: AuditSettings = AuditSettings()
    accounts: AccountSettings = AccountSettings()
    mail: MailSettings = MailSettings()
    passwords: PasswordSettings = PasswordSettings()
    tokens: TokenSettings = TokenSettings()
    quotas: QuotaSettings = QuotaSettings()
    oidc: OidcSettings = OidcSettings()
    programs: ProgramSettings = ProgramSettings()
    limits: LimitSettings = LimitSettings()
    agents: AgentSettings = AgentSettings()
    tools: ToolSettings = ToolSettings()
    citations: CitationSettings = CitationSettings()
    sources: SourceSettings = SourceSettings()
    models: ModelSettings = ModelSettings()
    sockets: SocketSettings = SocketSettings()
    openai: OpenAiApiSettings = OpenAiApiSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    testing: TestingSettings = TestingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in the order that the module's docstring describes."""
        del dotenv_settings, file_secret_settings
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        folder = os.environ.get("RESPONSA_SECRETS_DIR")
        if folder:
            if not Path(folder).is_dir():
                raise SettingsError(
                    f"RESPONSA_SECRETS_DIR names {folder}, which is not a folder; name a folder, or unset RESPONSA_SECRETS_DIR"
                )
            # The plain source of secrets does not support groups, but the models' keys are in groups.
            # This source accepts the class, but its types do not say so.
            sources.append(NestedSecretsSettingsSource(settings_cls, secrets_dir=folder))  # pyright: ignore[reportArgumentType]
        path, file = os.environ.get("RESPONSA_CONFIG"), settings_file()
        if path and not file.is_file():
            raise SettingsError(
                f"RESPONSA_CONFIG names {file}, which is not a file; name a file, or unset RESPONSA_CONFIG"
            )
        written = TomlConfigSettingsSource(settings_cls, toml_file=file)
        unknown = sorted(set(written.toml_data) - set(settings_cls.model_fields))
        if unknown:
            raise SettingsError(
                f"{file} has unknown settings: {', '.join(unknown)}; docs/settings.md lists all settings"
            )
        return (
            *sources,
            written,
            InitSettingsSource(settings_cls, {"models": {"vendors": _vendor_keys(folder)}}),
        )

    @model_validator(mode="after")
    def _nothing_of_developers_in_production(self) -> Self:
        if self.testing.agent and self.environment is Environment.PRODUCTION:
            raise ValueError("testing.agent is not for production")
        if self.models.scripted and self.environment is Environment.PRODUCTION:
            raise ValueError("models.scripted is not for production")
        return self

    @model_validator(mode="after")
    def _addresses_are_proved(self) -> Self:
        if self.local:
            return self
        proved = self.mail.configured or self.accounts.unproved_addresses
        if self.accounts.registration is Registration.OPEN and not proved:
            raise ValueError(
                "accounts.registration is open and listen is not a loopback address, but no e-mails are "
                "sent, so nothing would prove that an e-mail address belongs to the person: "
                "set mail.host and mail.sender (RESPONSA_MAIL__HOST, RESPONSA_MAIL__SENDER), or set accounts.registration to invited; "
                "to accept such addresses, set accounts.unproved_addresses (RESPONSA_ACCOUNTS__UNPROVED_ADDRESSES)"
            )
        if self.mail.configured and not self.mail.page_url:
            raise ValueError(
                "mail.page_url (RESPONSA_MAIL__PAGE_URL) must be set to the address of the page, because "
                "e-mails contain links to the page, and listen is not a loopback address"
            )
        return self

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the server."""
        return (f"[{self.listen}]" if ":" in self.listen else self.listen) in LOOPBACK_HOSTS

    @property
    def tools_folder(self) -> Path:
        return self.tools.folder or self.home / "tools"

    @property
    def connections_folder(self) -> Path:
        return self.sources.folder or self.home / "connections"

    @property
    def connectable_paths(self) -> Sequence[Path]:
        """The folders of the server below which folders may be connected."""
        if self.sources.paths is not None:
            return self.sources.paths
        return [Path.home()] if self.local else []

    @property
    def webhooks_folder(self) -> Path:
        return self.home / "webhooks"

    @property
    def page_url(self) -> str:
        """The page's address in mails, without a slash at the end."""
        return (self.mail.page_url or f"http://localhost:{self.port}").rstrip("/")

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins, other than the server's own, whose pages may send requests."""
        return (*self.allowed_origins, *(entry.partition("=")[2] for entry in self.widget_keys))

    @property
    def widgets(self) -> Mapping[UUID, frozenset[str]]:
        """The origins at which each key of a widget may be used, by the key's id."""
        widgets: dict[UUID, frozenset[str]] = {}
        for entry in self.widget_keys:
            name, _, origin = entry.partition("=")
            key = parse_uuid("apiKeys", name)
            widgets[key] = widgets.get(key, frozenset()) | {origin}
        return widgets

    @property
    def serves_reflection(self) -> bool:
        return self.environment is not Environment.PRODUCTION if self.reflection is None else self.reflection

    @property
    def allows_unconfined_parsing(self) -> bool:
        """Whether documents are parsed even if the kernel lacks Landlock or seccomp."""
        allowed = self.ingestion.allow_unconfined
        return self.environment is Environment.DEVELOPMENT if allowed is None else allowed


def settings_file() -> Path:
    """Return the path of the TOML file: RESPONSA_CONFIG, or `responsa.toml` in the data folder."""
    if path := os.environ.get("RESPONSA_CONFIG"):
        return Path(path)
    home = os.environ.get("RESPONSA_HOME")
    return (Path(home) if home else DEFAULT_HOME) / "responsa.toml"


def without_secrets(settings: Settings) -> tuple[str, Sequence[str]]:
    """Return the text of the settings file without passwords and keys, and the names of the settings that were left
    out. The text is empty if there is no file."""
    file = settings_file()
    if not file.is_file():
        return "", []
    text = file.read_text(encoding="utf-8")
    content: dict[str, Any] = rtoml.loads(text)
    left_out: list[str] = []
    for path in _secrets(settings, ()):
        group: Any = content
        for name in path[:-1]:
            group = group.get(name, {})
        if group.pop(path[-1], None) is not None:
            left_out.append(".".join(path))
    return (rtoml.dumps(content) if left_out else text), left_out


def _secrets(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths of all secrets in these settings."""
    if isinstance(value, SecretStr):
        yield path
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name), (*path, name))
    elif isinstance(value, Mapping):
        for name, item in cast("Mapping[str, object]", value).items():
            yield from _secrets(item, (*path, name))


def load(**overrides: object) -> Settings:
    """Read and check all settings. Raises SettingsError, which names every wrong setting."""
    try:
        return Settings(**overrides)  # pyright: ignore[reportArgumentType]  # values are checked by the model itself
    except ValidationError as error:
        lines = [
            f"{_describe(detail['loc'], detail['msg'])}{_show_value(detail['loc'], detail['input'])}"
            for detail in error.errors(include_url=False)
        ]
        raise SettingsError("settings are wrong: " + "; ".join(lines) + ". See docs/settings.md") from error
    except (OSError, ValueError) as error:
        raise SettingsError(f"the settings file ({settings_file()}) cannot be read: {error}") from error


def unknown_variables(variables: Iterable[str]) -> Sequence[str]:
    """Return the names that begin with RESPONSA_ but belong neither to settings nor to commands, in alphabetical order.

    Such a name is usually misspelt. But the server starts with it, because declarations of tools may read such
    variables, and Kubernetes sets them for a service with the name `responsa`.
    """
    settings = {
        name
        for name, field in Settings.model_fields.items()
        if not isinstance(field.validation_alias, AliasChoices)
    }
    unknown: list[str] = []
    for name in variables:
        prefix, _, rest = name.upper().partition("_")
        if (
            prefix == "RESPONSA"
            and name.upper() not in _COMMANDS
            and rest.partition("__")[0].lower() not in settings
        ):
            unknown.append(name)
    return sorted(unknown)


def _describe(path: Sequence[int | str], message: str) -> str:
    """Return the name of a wrong setting and the mistake. A rule about several settings names them itself."""
    plain = message.removeprefix("Value error, ")
    return f"{'.'.join(map(str, path))}: {plain[:1].lower()}{plain[1:]}" if path else plain


def _show_value(path: Sequence[int | str], value: object) -> str:
    """Return the value of a wrong setting for the message, unless the value could contain a password or a key.

    Therefore, the message omits long texts, URLs, keys, passwords, all values in `models` and `oidc`, and the values of whole groups.
    """
    secret = any(word in str(path).lower() for word in ("url", "key", "password"))
    holds = secret or path[:1] in (("models",), ("oidc",))
    shown = isinstance(value, str | int | float) and len(str(value)) <= _MOST_SHOWN
    return f" (got {value!r})" if shown and not holds else ""


# The client of LangChain and LangSmith may read these variables at any time, and any of the variables may make the
# client send data.
_TRACER_PREFIXES: Final = ("LANGCHAIN_", "LANGSMITH_")


def drop_foreign_tracers(environ: MutableMapping[str, str]) -> Sequence[str]:
    """Remove the variables that make other libraries send users' questions to other servers. Returns the names of the
    removed variables. Call this function before a graph is built.
    """
    dropped = sorted(name for name in environ if name.upper().startswith(_TRACER_PREFIXES))
    for name in dropped:
        del environ[name]
    return dropped


def otlp(settings: Settings) -> Otlp:
    """Return where telemetry is sent."""
    return Otlp(settings.telemetry, environment())


def environment() -> MutableMapping[str, str]:
    """Return this process's environment. Callers pass it on to a child process or remove variables from it."""
    return os.environ
