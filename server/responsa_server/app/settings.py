"""All settings of the server, and the only place that reads the environment.

Precedence, the strongest first: arguments of the command line, environment variables, secret files (`RESPONSA_SECRETS_DIR`, one file a
setting), the TOML file (`RESPONSA_CONFIG`, else `responsa.toml` in the data folder), the default. Each group of settings is a class of the package that
reads it, in its `settings.py`; `docs/settings.md` is generated from all of them.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from responsa_server.agents.config.settings import AgentSettings
from responsa_server.identity.settings import SessionSettings
from responsa_server.ingest.settings import IngestionSettings
from responsa_server.instance import CHECKOUT, DEFAULT_HOME, DEFAULT_PORT
from responsa_server.providers.settings import ModelServerSettings, ModelSettings
from responsa_server.search.settings import RetrievalSettings
from responsa_server.transports.ws.settings import SocketSettings
from responsa_server.turns.settings import TurnSettings

# Shorter than any key, because a user may have pasted a key into the wrong setting.
_MOST_SHOWN: Final = 20


def _listed(value: object) -> object:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _or_none(value: object) -> object:
    return None if value in ("", "none") else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
"""In environment variables: separated by commas. In TOML: an array."""


class SettingsError(Exception):
    """A setting is wrong; the message names each one, the mistake, and where it may be set."""


class Environment(StrEnum):
    """Where this server runs. Production turns reflection off."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


class ServeRole(StrEnum):
    """The tasks of a server process."""

    ALL = "all"
    RPC = "rpc"
    WORKER = "worker"


class LogLevel(StrEnum):
    """The least severe level that is logged: `debug`, `info`, `warning` or `error`."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class TestingSettings(BaseModel, extra="forbid"):
    """An agent to interrupt, for trials and campaigns."""

    agent: bool = Field(
        default=False,
        description="Whether the agent `testing` is available, which follows a script in the question and costs nothing. Not allowed in production.",
    )
    model_url: str = Field(
        default="",
        description="The OpenAI-compatible server that the testing agent calls; empty: a scripted one in the server's process.",
    )
    tool_url: str = Field(
        default="",
        description="The HTTP endpoint that the testing agent's tool calls; empty: one in the server's process that counts calls.",
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
    port: int = Field(
        default=DEFAULT_PORT,
        ge=1,
        le=65_535,
        description="The port that serves everything: gRPC, gRPC-Web, REST and the page.",
    )
    listen: str = Field(
        default="127.0.0.1",
        description="The address to listen on. Any address other than loopback opens the port to the network.",
    )
    environment: Environment = Field(
        default=Environment.DEVELOPMENT,
        description="`development`, `staging` or `production`. Production turns off reflection, scripted models and the testing agent.",
    )
    allowed_hosts: Names = Field(
        default=(),
        description="Host names, in addition to those of loopback, that requests may use, separated by commas; with `:port` if the port differs from `port`.",
    )
    allowed_origins: Names = Field(
        default=(),
        description="Origins, in addition to the port's own, whose pages may send requests (CORS), such as `https://app.example.org`, separated by commas.",
    )
    reflection: bool | None = Field(
        default=None, description="Whether gRPC reflection is served; empty: everywhere except in production."
    )
    log_level: LogLevel = Field(
        default=LogLevel.INFO,
        description="The least severe level that is logged: `debug`, `info`, `warning` or `error`.",
    )
    drain_seconds: float = Field(
        default=5.0, ge=0, le=600, description="How long running calls may continue when the server stops."
    )
    notice_seconds: float = Field(
        default=1.5,
        ge=0,
        le=600,
        description="How long a server continues to take calls after SIGTERM. Its health checks fail during that time, so that Envoy stops sending calls before the server drains. SIGINT skips this wait.",
    )
    max_calls: int = Field(
        default=2000,
        ge=1,
        le=1_000_000,
        description="The number of calls served at a time; further calls are refused with OVERLOADED.",
    )
    role: ServeRole = Field(
        default=ServeRole.ALL,
        description="What `serve` does: `rpc` takes calls, `worker` runs turns and ingests documents, `all` does both. `--role` overrides it.",
    )
    grpc_listen: str = Field(
        default="",
        description="The address where `serve` listens for gRPC: `unix:PATH` or `HOST:PORT`; empty: a socket in the data folder. `--listen` overrides it.",
    )
    http_listen: str = Field(
        default="",
        description="The address where `serve` listens for the gateway's HTTP: `unix:PATH` or `HOST:PORT`; empty: a socket in the data folder, or no HTTP if `grpc_listen` is set. `--http-listen` overrides it.",
    )
    page: Path = Field(
        default=CHECKOUT / "clients" / "web" / "dist", description="The folder of the built page."
    )
    docs: Annotated[Path | None, BeforeValidator(_or_none)] = Field(
        default=CHECKOUT,
        description="The folder whose `docs/*.md` `responsa up` loads into the collection `responsa-docs`; `none` loads nothing.",
    )

    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL", "database_url"),
        description="A PostgreSQL 18 with pgvector to use instead of the embedded one. The URL names the database's owner, who must be allowed to create roles.",
    )
    database_app_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_APP_URL", "database_app_url"),
        description="The same database for the role responsa_app; empty: DATABASE_URL with `SET ROLE`.",
    )
    database_log_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_LOG_URL", "database_log_url"),
        description="The same database for the role responsa_log; empty: DATABASE_URL with `SET ROLE`.",
    )
    database_pool: int = Field(
        default=10, ge=2, le=200, description="The maximum number of connections in each of the two pools."
    )
    redis_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("REDIS_URL", "redis_url"),
        description="A Redis 6.2 or newer to use instead of the embedded one. It is only a cache: losing it loses no data.",
    )

    openai_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("OPENAI_API_KEY", "openai_api_key"),
        description="The key for `openai:…` if `models.openai.api_key` is empty.",
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("ANTHROPIC_API_KEY", "anthropic_api_key"),
        description="The key for `anthropic:…` if `models.anthropic.api_key` is empty.",
    )
    gemini_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("GEMINI_API_KEY", "gemini_api_key"),
        description="The key for `gemini:…` if `models.gemini.api_key` is empty.",
    )

    turns: TurnSettings = TurnSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    ingestion: IngestionSettings = IngestionSettings()
    sessions: SessionSettings = SessionSettings()
    agents: AgentSettings = AgentSettings()
    models: ModelSettings = ModelSettings()
    sockets: SocketSettings = SocketSettings()
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
        """Order the sources as the module's docstring says."""
        del dotenv_settings, file_secret_settings
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if folder := os.environ.get("RESPONSA_SECRETS_DIR"):
            # The plain source does not support groups, and the keys of models are in groups.
            sources.append(NestedSecretsSettingsSource(settings_cls, secrets_dir=folder))  # pyright: ignore[reportArgumentType]  # it takes the class, its types do not say so
        given, file = os.environ.get("RESPONSA_CONFIG"), settings_file()
        if given and not file.is_file():
            raise SettingsError(f"RESPONSA_CONFIG names {file}, which is not a file; name one, or unset it")
        written = TomlConfigSettingsSource(settings_cls, toml_file=file)
        unknown = sorted(set(written.toml_data) - set(settings_cls.model_fields))
        if unknown:
            raise SettingsError(
                f"{file} sets {', '.join(unknown)}, which there is not; docs/settings.md lists all settings"
            )
        sources.append(written)
        return tuple(sources)

    @model_validator(mode="after")
    def _no_scripts_in_production(self) -> Self:
        if self.testing.agent and self.environment is Environment.PRODUCTION:
            raise ValueError("testing.agent is not for production")
        if self.models.scripted and self.environment is Environment.PRODUCTION:
            raise ValueError("models.scripted is not for production")
        return self

    @property
    def language_models(self) -> ModelSettings:
        """The group `models`, with the vendors' keys that are given by their own names."""
        filled: dict[str, ModelServerSettings] = {}
        for name, vendor in self.models.vendors.items():
            key: SecretStr | None = getattr(self, f"{name}_api_key", None)
            if key is not None and not vendor.api_key.get_secret_value():
                filled[name] = vendor.model_copy(update={"api_key": key})
        return self.models.model_copy(update=filled)

    @property
    def serves_reflection(self) -> bool:
        """Whether gRPC reflection is on."""
        return self.environment is not Environment.PRODUCTION if self.reflection is None else self.reflection

    @property
    def allows_unconfined_parsing(self) -> bool:
        """Whether documents are parsed where the kernel lacks Landlock or seccomp."""
        allowed = self.ingestion.allow_unconfined
        return self.environment is not Environment.PRODUCTION if allowed is None else allowed


def settings_file() -> Path:
    """The path of the TOML file: RESPONSA_CONFIG, else `responsa.toml` in the data folder."""
    if given := os.environ.get("RESPONSA_CONFIG"):
        return Path(given)
    home = os.environ.get("RESPONSA_HOME")
    return (Path(home) if home else DEFAULT_HOME) / "responsa.toml"


def load(**overrides: object) -> Settings:
    """Read and check all settings. Raises SettingsError that names every wrong one."""
    try:
        return Settings(**overrides)  # pyright: ignore[reportArgumentType]  # values are checked by the model itself
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, one['loc']))}: {one['msg'].lower()}{_got(one['loc'], one['input'])}"
            for one in error.errors(include_url=False)
        ]
        raise SettingsError("settings are wrong: " + "; ".join(lines) + ". See docs/settings.md") from error
    except (OSError, ValueError) as error:
        raise SettingsError(f"the settings file ({settings_file()}) cannot be read: {error}") from error


def _got(place: Sequence[int | str], value: object) -> str:
    """The value of a wrong setting, if it cannot hold a password or a key: never an address, a model server's setting, a whole group or a long text."""
    holds = "url" in str(place).lower() or "key" in str(place).lower() or place[:1] == ("models",)
    shown = isinstance(value, str | int | float) and len(str(value)) <= _MOST_SHOWN
    return f" (got {value!r})" if shown and not holds else ""


# The client of LangChain and LangSmith may read these variables at any time, and any of them may enable
# sending.
_TRACER_PREFIXES: Final = ("LANGCHAIN_", "LANGSMITH_")


def drop_foreign_tracers(environ: MutableMapping[str, str]) -> Sequence[str]:
    """Remove the variables that make other libraries send users' questions elsewhere. Returns their names. Call it before a graph is built."""
    dropped = sorted(name for name in environ if name.upper().startswith(_TRACER_PREFIXES))
    for name in dropped:
        del environ[name]
    return dropped


def environment() -> MutableMapping[str, str]:
    """This process's environment, to pass on to a child process or to remove variables from."""
    return os.environ
