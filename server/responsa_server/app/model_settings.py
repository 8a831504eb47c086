"""The group of settings for language models, `models`: where they are served, with which key, how much may be asked of them."""

from __future__ import annotations

import json
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from responsa_server.app.setting_groups import SettingsGroup

OPENAI_URL: Final = "https://api.openai.com/v1"
ANTHROPIC_URL: Final = "https://api.anthropic.com/v1"
GEMINI_URL: Final = "https://generativelanguage.googleapis.com/v1"
_DEFAULT: Final = "default"
_TAKEN: Final = ("openai", "anthropic", "gemini", "embedded", "scripted", "extractive", _DEFAULT)


def _web(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no http or https address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            "may hold neither a user, a password, a query nor a fragment: a key has a setting of its own"
        )
    return url.rstrip("/")


Web = Annotated[str, AfterValidator(_web)]


def _own(name: str) -> str:
    if name in _TAKEN:
        raise ValueError(f"may not be named {name}: that is a provider of its own")
    return name


def _listed(value: object) -> object:
    """In the environment: a JSON array, or separated by commas."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return [part.strip() for part in value.split(",") if part.strip()]
    return json.loads(value) if isinstance(value, str) else value


def _of_models(names: list[str]) -> list[str]:
    if _DEFAULT in names:
        raise ValueError(f"names models, as provider:model, and cannot name itself, {_DEFAULT}")
    return names


ServerName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$"), AfterValidator(_own)]


class ModelServerSettings(SettingsGroup):
    """A server of language models, and how it is treated."""

    url: Web = Field(
        description="Where it is, up to and with the version, as in `http://127.0.0.1:11434/v1`."
    )
    api_key: SecretStr = Field(
        default=SecretStr(""),
        description="The key that it wants, from the environment or a secret file; empty for none.",
    )
    connect_seconds: float = Field(default=5.0, ge=0.1, le=60, description="How long connecting may take.")
    idle_seconds: float = Field(
        default=60.0,
        ge=1,
        le=600,
        description="The longest silence within an answer, its first word included.",
    )
    concurrent: int = Field(
        default=64, ge=1, le=10_000, description="Answers that one worker asks of it at a time; more wait."
    )
    requests_a_minute: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Requests that one worker sends it in a minute; 0 for any number.",
    )
    wait_seconds: float = Field(
        default=10.0,
        ge=0,
        le=300,
        description="The longest that a request waits for its place before the next model is asked.",
    )


class OpenAiSettings(ModelServerSettings):
    """OpenAI itself."""

    url: Web = Field(default=OPENAI_URL, description="Where it is.")


class AnthropicSettings(ModelServerSettings):
    """Anthropic."""

    url: Web = Field(default=ANTHROPIC_URL, description="Where it is.")


class GeminiSettings(ModelServerSettings):
    """Google's Gemini."""

    url: Web = Field(default=GEMINI_URL, description="Where it is.")


class CompatibleSettings(ModelServerSettings):
    """A server that speaks OpenAI's chat completions, or one of the other wires: vLLM, Ollama, llama.cpp, a gateway."""

    wire: Literal["openai", "anthropic", "gemini"] = Field(default="openai", description="What it speaks.")
    continuous_usage: bool = Field(
        default=False,
        description="Whether it tells tokens with every chunk (vLLM's `continuous_usage_stats`).",
    )
    structured: bool = Field(default=True, description="Whether it takes a JSON schema for its answer.")
    uds: str = Field(default="", description="A Unix socket to reach it by; `url` then gives the path alone.")
    keep_alive: bool = Field(default=True, description="Whether connections to it are used again.")


class EmbeddedModelSettings(SettingsGroup):
    """The model that runs on this machine, `embedded:smollm2`, once `make embedded-model` has fetched it."""

    start: bool = Field(
        default=False,
        description="Whether `responsa up` starts it though `models.default` does not name it: for agents that do.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Threads that it computes with; 0: one less than there are cores.",
    )
    concurrent: int = Field(default=2, ge=1, le=16, description="Answers that it writes at a time.")
    window: int = Field(
        default=4096, ge=512, le=8192, description="Tokens that a prompt and its answer may have together."
    )
    idle_seconds: float = Field(
        default=120.0,
        ge=1,
        le=600,
        description="The longest silence within an answer, its first word included.",
    )


class ModelSettings(SettingsGroup):
    """Language models: which there are, and which one agents use that name `default`."""

    default: Annotated[list[str], NoDecode, BeforeValidator(_listed), AfterValidator(_of_models)] = Field(
        default_factory=list,
        description="The models that `default` stands for in an agent's chain, as `provider:model`, asked in this order; extractive answers come after them.",
    )
    openai: OpenAiSettings = Field(default_factory=OpenAiSettings, description="OpenAI.")
    anthropic: AnthropicSettings = Field(default_factory=AnthropicSettings, description="Anthropic.")
    gemini: GeminiSettings = Field(default_factory=GeminiSettings, description="Google's Gemini.")
    servers: dict[ServerName, CompatibleSettings] = Field(
        default_factory=dict,
        description="Servers of one's own, by name: `models.servers.lab.url`. What they say costs nothing.",
    )
    embedded: EmbeddedModelSettings = Field(
        default_factory=EmbeddedModelSettings, description="The model on this machine."
    )
    patience_seconds: float = Field(
        default=30.0,
        ge=1,
        le=600,
        description="How long a model may take to its first word before the next one, or what an agent does without a model, takes its place.",
    )
    retries: int = Field(
        default=2,
        ge=0,
        le=10,
        description="How often a busy or unreachable model is asked again before its first word.",
    )
    scripted: bool = Field(
        default=False,
        description="Whether the models `scripted:*` are there, which only tests and demonstrations need. Not for production.",
    )

    @property
    def wants_embedded(self) -> bool:
        """Whether the model on this machine is to run."""
        return self.embedded.start or any(one.startswith("embedded:") for one in self.default)
