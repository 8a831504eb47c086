"""The settings of language models, `models`: their servers, keys and limits; and the table of all vendors."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from pydantic_settings import NoDecode

from responsa_server.providers.anthropic import AnthropicMessages, AnthropicSettings
from responsa_server.providers.gemini import Gemini, GeminiSettings
from responsa_server.providers.http_model import HttpModel, ModelServer, ModelServerSettings
from responsa_server.providers.openai_chat import OpenAiChat, OpenAiSettings

VENDORS: Final[Mapping[str, Callable[[ModelServer], HttpModel]]] = {
    "openai": OpenAiChat,
    "anthropic": AnthropicMessages,
    "gemini": Gemini,
}
"""The adapter of each vendor, by the name before the colon. Each name is a field of `ModelSettings`, and a wire that users' own servers can speak."""
Wire = Literal["openai", "anthropic", "gemini"]
_DEFAULT: Final = "default"
_TAKEN: Final = (*VENDORS, "embedded", "scripted", "extractive", _DEFAULT)


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


class CompatibleSettings(ModelServerSettings):
    """A server that speaks OpenAI's chat completions, or one of the other wires: vLLM, Ollama, llama.cpp, a gateway."""

    wire: Wire = Field(default="openai", description="What it speaks.")
    continuous_usage: bool = Field(
        default=False,
        description="Whether it tells tokens with every chunk (vLLM's `continuous_usage_stats`).",
    )
    structured: bool = Field(default=True, description="Whether it takes a JSON schema for its answer.")
    uds: str = Field(default="", description="A Unix socket to reach it by; `url` then gives the path alone.")
    keep_alive: bool = Field(default=True, description="Whether connections to it are used again.")


class EmbeddedModelSettings(BaseModel, extra="forbid"):
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


class ModelSettings(BaseModel, extra="forbid"):
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

    @property
    def vendors(self) -> Mapping[str, ModelServerSettings]:
        """The sections of all vendors, by name."""
        found = {name: getattr(self, name) for name in VENDORS}
        return {name: one for name, one in found.items() if isinstance(one, ModelServerSettings)}
