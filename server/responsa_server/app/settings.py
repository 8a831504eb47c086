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
"""In the environment: separated by commas. In TOML: an array."""


class SettingsError(Exception):
    """A setting is wrong; the message names each one, what is wrong with it and where it may be set."""


class Environment(StrEnum):
    """Where this server runs. Production turns reflection off."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


class ServeRole(StrEnum):
    """What a server process does."""

    ALL = "all"
    RPC = "rpc"
    WORKER = "worker"


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class TestingSettings(BaseModel, extra="forbid"):
    """An agent to interrupt, for trials and campaigns."""

    agent: bool = Field(
        default=False,
        description="Whether the agent `testing` is there, which answers by a script in the question and costs nothing. Not for production.",
    )
    model_url: str = Field(
        default="",
        description="OpenAI-compatible server that the testing agent asks; empty starts a scripted one in the server's own process.",
    )
    tool_url: str = Field(
        default="",
        description="What the testing agent's tool calls by HTTP; empty starts a counting one in the server's own process.",
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

    home: Annotated[Path, Field(description="Data folder of the embedded parts.")] = DEFAULT_HOME
    port: int = Field(
        default=DEFAULT_PORT, ge=1, le=65_535, description="The one port: gRPC, gRPC-Web, REST and the page."
    )
    listen: str = Field(
        default="127.0.0.1",
        description="Address of the one port. Anything but loopback opens it to the network.",
    )
    environment: Environment = Field(
        default=Environment.DEVELOPMENT, description="development, staging or production."
    )
    allowed_hosts: Names = Field(
        default=(),
        description="Host names, beside loopback's, by which the one port may be called (several: separated by commas), with `:port` where it is not the port's own.",
    )
    allowed_origins: Names = Field(
        default=(),
        description="Origins, beside the port's own, whose pages may call (CORS), e.g. `https://app.example.org`.",
    )
    reflection: bool | None = Field(
        default=None, description="Whether gRPC reflection is served; empty means: not in production."
    )
    log_level: LogLevel = Field(default=LogLevel.INFO, description="How much is logged.")
    drain_seconds: float = Field(
        default=5.0, ge=0, le=600, description="How long running calls may take when the server stops."
    )
    notice_seconds: float = Field(
        default=1.5,
        ge=0,
        le=600,
        description="How long a server that gets SIGTERM still takes calls after it told health checks that it goes, so that Envoy sends none into its drain. SIGINT skips it.",
    )
    max_calls: int = Field(
        default=2000,
        ge=1,
        le=1_000_000,
        description="Calls served at a time; more are refused with OVERLOADED.",
    )
    role: ServeRole = Field(
        default=ServeRole.ALL,
        description="What `serve` does: `rpc` takes calls, `worker` runs turns and takes in documents, `all` does both. `--role` beats it.",
    )
    grpc_listen: str = Field(
        default="",
        description="Where `serve` listens for gRPC: `unix:PATH` or `HOST:PORT`; empty means a socket in the data folder. `--listen` beats it.",
    )
    http_listen: str = Field(
        default="",
        description="Where `serve` listens for the gateway's HTTP: `unix:PATH` or `HOST:PORT`; empty means a socket in the data folder, or nowhere when another place was named for gRPC. `--http-listen` beats it.",
    )
    page: Path = Field(default=CHECKOUT / "clients" / "web" / "dist", description="Folder of the built page.")
    docs: Annotated[Path | None, BeforeValidator(_or_none)] = Field(
        default=CHECKOUT,
        description="Folder whose docs/*.md become the first collection; `none` for none.",
    )

    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_URL", "database_url"),
        description="PostgreSQL 18 with pgvector to use instead of the embedded one, as its owner (it must be able to create roles).",
    )
    database_app_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_APP_URL", "database_app_url"),
        description="The same database as the role responsa_app; empty takes DATABASE_URL with `SET ROLE`.",
    )
    database_log_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("DATABASE_LOG_URL", "database_log_url"),
        description="The same database as the role responsa_log; empty takes DATABASE_URL with `SET ROLE`.",
    )
    database_pool: int = Field(
        default=10, ge=2, le=200, description="Connections of each of the two pools, at most."
    )
    redis_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("REDIS_URL", "redis_url"),
        description="Redis 6.2 or newer to use instead of the embedded one. It is a cache: nothing is lost with it.",
    )

    openai_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("OPENAI_API_KEY", "openai_api_key"),
        description="Key for `openai:…`, where models.openai.api_key is empty.",
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("ANTHROPIC_API_KEY", "anthropic_api_key"),
        description="Key for `anthropic:…`, where models.anthropic.api_key is empty.",
    )
    gemini_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("GEMINI_API_KEY", "gemini_api_key"),
        description="Key for `gemini:…`, where models.gemini.api_key is empty.",
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
        """Order the sources as the module says."""
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


# The client of LangChain and LangSmith may read these at any time, and any of them may enable sending.
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
