"""The section `models` of the settings (servers of language models, keys and limits), and the table of the vendors' adapters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import NoDecode

from responsa_server.domain.models import EMBEDDING_NAME, INDEXED_DIMENSIONS
from responsa_server.outbound.addresses import Allowed, OutboundError, read_allowed
from responsa_server.system.limiting import limit
from responsa_server.system.plugins import Group, entry_points

ADAPTERS: Final[Mapping[str, str]] = {
    "openai": "responsa_server.providers.openai_chat:OpenAiChat",
    "anthropic": "responsa_server.providers.anthropic:AnthropicMessages",
    "gemini": "responsa_server.providers.gemini:Gemini",
}
"""Maps the name of each vendor to the vendor's `HttpModel`. A vendor's name is the part of a model's name before the colon. A
module is imported when one of its models is first called. Each vendor's name is also a key of `ModelSettings.vendors`, and
the name of a protocol that users' own servers can use.
"""


def _check_wire(name: str) -> str:
    if name not in ADAPTERS and name not in (added := entry_points(Group.PROVIDERS).names):
        raise ValueError(f"must be one of {', '.join((*ADAPTERS, *sorted(added)))}")
    return name


Wire = Annotated[str, AfterValidator(_check_wire)]
"""The name of a protocol: a vendor's, or that of a `HttpModel` that another distribution adds."""
RERANKING_VENDORS: Final = ("cohere", "jina", "voyage")
"""The vendors of reranking models. A vendor's name is also a key of `ModelSettings.vendors`, and the name of its protocol
in `RerankWire`."""
VENDOR_NAMES: Final = {"openai": "OpenAI", "anthropic": "Anthropic", "gemini": "Google's Gemini"}
"""The vendors of language models as people write them."""
_URLS: Final = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1",
    "cohere": "https://api.cohere.com/v2",
    "jina": "https://api.jina.ai/v1",
    "voyage": "https://api.voyageai.com/v1",
}
"""The addresses of the vendors."""
RerankWire = Literal["cohere", "jina", "voyage", "tei"]
"""The protocols of reranking models; `providers.reranking.RERANKERS` has an adapter for each."""
ONNX: Final = "onnx"
"""The provider of reranking models that run in the server."""
COMPATIBLE: Final = "compatible"
"""The provider whose address an owner of the installation gives on the page."""
_DEFAULT: Final = "default"
_RESERVED: Final = (
    *ADAPTERS,
    *RERANKING_VENDORS,
    ONNX,
    "embedded",
    "scripted",
    "passages",
    COMPATIBLE,
    _DEFAULT,
)


def _web(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http or https address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must not hold a user, a password, a query or a fragment; api_key holds the key")
    return url.rstrip("/")


def _web_or_own(url: str) -> str:
    return url and _web(url)


def _not_reserved(name: str) -> str:
    if name in _RESERVED:
        raise ValueError(f"must not be {name}: that name stands for another provider")
    return name


def _to_list(value: object) -> object:
    """Reads a list from an environment variable. The list is a JSON array, or its items are separated by commas."""
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return [part.strip() for part in value.split(",") if part.strip()]
    return json.loads(value) if isinstance(value, str) else value


def _of_models(names: list[str]) -> list[str]:
    if _DEFAULT in names:
        raise ValueError(f"must list models as provider:model, and must not contain “{_DEFAULT}” itself")
    return names


def _check(entries: list[str]) -> list[str]:
    try:
        read_allowed(entries)
    except OutboundError as error:
        raise ValueError(str(error)) from None
    return entries


def _check_key(key: SecretStr) -> SecretStr:
    if re.fullmatch("[!-~]*", key.get_secret_value()) is None:
        raise ValueError("must have only visible ASCII characters; copy it from where the provider shows it")
    return key


Web = Annotated[str, AfterValidator(_web)]
Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000)]
EmbeddingName = Annotated[str, Field(pattern=EMBEDDING_NAME)]
VendorName = Annotated[str, Field(pattern=f"^({'|'.join(_URLS)})$")]
WAIT_SECONDS: Final = 10.0
"""The longest time that a call waits for `concurrent` and `requests_a_minute`. Then the next model is asked."""
ServerName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$"), AfterValidator(_not_reserved)]


class VendorSettings(BaseModel, extra="forbid"):
    """The server of a vendor."""

    url: Annotated[str, AfterValidator(_web_or_own)] = Field(
        default="", description="The server's address. Empty: the vendor's own."
    )
    api_key: Annotated[SecretStr, AfterValidator(_check_key)] = Field(
        default=SecretStr(""),
        description=(
            "The server's key, from the environment or a secret file. Empty if it needs none; for a vendor, "
            "the variable or secret file with its name, such as OPENAI_API_KEY."
        ),
    )


class CallLimitSettings(BaseModel, extra="forbid"):
    """The limits for calls to a server of language models."""

    concurrent: int = limit(
        64,
        1,
        10_000,
        "The most answers that one worker requests of each vendor, or of the server, at a time. Further calls wait.",
    )
    requests_a_minute: int = limit(
        0,
        0,
        1_000_000,
        "The most requests that one worker sends to each vendor, or to the server, per minute. 0: no limit.",
    )


class ServerSettings(VendorSettings, CallLimitSettings):
    """A user's own server, such as vLLM, Ollama, llama.cpp or a gateway. `prefill` does not apply to Gemini's protocol."""

    url: Web = Field(description="The address with the version, such as `http://127.0.0.1:11434/v1`.")
    wire: Wire = Field(
        default="openai",
        description=(
            "The vendor whose protocol the server uses, or a protocol that another distribution adds."
        ),
    )
    tools: bool = Field(
        default=True,
        description=(
            "Whether its models can request tools. If not, agents choose tools with the prompt "
            "`tool_selection`."
        ),
    )
    begins_with_reasoning: bool = Field(
        default=False,
        description=(
            "Whether each answer begins with the model's reasoning without the tag `<think>`. The "
            "server then removes all up to the first `</think>`; an answer without it counts as empty."
        ),
    )
    prefill: Literal["none", "last", "continue", "marked"] = Field(
        default="none",
        description=(
            "How the server continues an answer that another model broke off. `none`: it cannot. "
            "`last`: the prompt ends with the answer as an assistant's message (llama.cpp, Ollama). "
            "`continue`: also `continue_final_message` (vLLM). `marked`: the message has `prefix: true` "
            "(DeepSeek, Mistral)."
        ),
    )
    window: int | None = Field(
        default=None,
        ge=512,
        le=10_000_000,
        description=(
            "The most tokens of a prompt and its answer together. Set it for a server that cuts longer "
            "prompts without an error, such as Ollama. Empty if the window is large."
        ),
    )
    price: Annotated[tuple[Dollars, Dollars] | None, NoDecode, BeforeValidator(_to_list)] = Field(
        default=None,
        description=(
            "What a million tokens cost that its models read, and that they write, in US dollars, such as `[0.5, 1.5]`. Empty: "
            "nothing at an address of this machine or of a private network; otherwise it is not known, and limits in money refuse them."
        ),
    )
    rerank: RerankWire | None = Field(
        default=None,
        description=(
            "The protocol of its reranking models, if it has any. `cohere`: `query` and `documents` in, "
            "`results` out (vLLM, llama.cpp, Infinity). `tei`: `query` and `texts` (Hugging Face's "
            "text-embeddings-inference). `jina`, `voyage`: these vendors' own."
        ),
    )
    keep_alive: bool = Field(default=True, description="Whether connections to the server are reused.")


class CompatibleSettings(ServerSettings):
    """A server, with what is no setting. idle_seconds: the longest time without data from it, before or within an answer; for an
    answer to a question, also half of the turn's remaining time, divided by the models that are left. wait_seconds: see
    `WAIT_SECONDS`. completion_limit: whether it wants the limit of an answer as `max_completion_tokens`, like OpenAI, instead of
    `max_tokens`. continuous_usage: whether to request token counts with every chunk (vLLM's `continuous_usage_stats`). documents:
    whether a server with Anthropic's protocol takes passages as documents, and cites them itself. uds: the Unix socket to connect
    to; only the path of `url` then counts; "" for TCP."""

    idle_seconds: float = 30.0
    wait_seconds: float = WAIT_SECONDS
    completion_limit: bool = False
    continuous_usage: bool = False
    documents: bool = False
    uds: str = ""


class GuardedSettings(CompatibleSettings):
    """A server whose address no operator has declared. allowed: the addresses beyond the public ones that the server may connect to."""

    allowed: Allowed


class EmbeddingModelSettings(BaseModel, extra="forbid"):
    """An embedding model at a provider. What is not set comes from the table of known models, or from the model itself."""

    dimensions: int | None = Field(
        default=None,
        description=(
            "The length of the vectors: 256, 384, 512, 768, 1024, 1536 or 3072. Empty: what Responsa "
            "knows, or learns by asking the model once."
        ),
    )
    ask_for_dimensions: bool = Field(
        default=False,
        description=(
            "Whether requests have the field `dimensions`, which asks a model to shorten its vectors."
        ),
    )
    max_tokens: int | None = Field(
        default=None,
        ge=256,
        le=100_000,
        description=("The most tokens that the model reads of one text. Empty: what Responsa knows, or 512."),
    )

    @field_validator("dimensions")
    @classmethod
    def _check_indexed(cls, value: int | None) -> int | None:
        if value is not None and value not in INDEXED_DIMENSIONS:
            raise ValueError(f"must be one of {', '.join(map(str, INDEXED_DIMENSIONS))}")
        return value

    @model_validator(mode="after")
    def _dimensions_to_ask_for(self) -> Self:
        if self.ask_for_dimensions and self.dimensions is None:
            raise ValueError("ask_for_dimensions needs dimensions")
        return self


class EmbeddedModelSettings(BaseModel, extra="forbid"):
    """The model on this machine, `embedded:smollm2`, which `responsa setup --language-model` installs."""

    start: bool = Field(
        default=False,
        description=(
            "Whether `responsa up` starts the model even if `models.default` does not name it, because "
            "an agent does."
        ),
    )


class ModelSettings(CallLimitSettings, extra="forbid", regex_engine="python-re"):
    """The language models, and the models that `default` stands for."""

    default: Annotated[list[str], NoDecode, BeforeValidator(_to_list), AfterValidator(_of_models)] = Field(
        default_factory=list,
        description=(
            "The models (`provider:model`) that `default` stands for in an agent's chain, in the order "
            "in which they are asked. If none answers, the answer shows the best passages."
        ),
    )
    vendors: dict[VendorName, VendorSettings] = Field(
        default_factory=dict,
        description="OpenAI, Anthropic and Google's Gemini; Cohere, Jina and Voyage for reranking models.",
    )
    servers: dict[ServerName, ServerSettings] = Field(
        default_factory=dict,
        description=(
            "Your own servers, by name. For example, `models.servers.lab.url` is the address of the "
            "server `lab`."
        ),
    )
    allow_private: Annotated[list[str], NoDecode, BeforeValidator(_to_list), AfterValidator(_check)] = Field(
        default_factory=list,
        description=(
            "Hosts and networks, such as `127.0.0.1` or `10.1.0.0/16`, that an owner may name on the "
            "page as a model's address, beside public ones. `models.servers` needs no such permission."
        ),
    )
    embedded: EmbeddedModelSettings = Field(
        default_factory=EmbeddedModelSettings, description="The model on this machine."
    )
    embeddings: dict[EmbeddingName, EmbeddingModelSettings] = Field(
        default_factory=dict,
        description=(
            "Embedding models whose values differ from the values that Responsa knows, by name, such "
            'as `[models.embeddings."lab:bge-m3"]`. The part before the colon is a provider.'
        ),
    )
    patience_seconds: float = Field(
        default=30.0,
        ge=1,
        le=600,
        description=(
            "The longest time until a model's first word. Then the next model is asked, or the agent "
            "goes on without; for an answer, a minute later if the connection to the last model lives. Also the longest "
            "silence within an answer."
        ),
    )
    retries: int = limit(
        2, 0, 10, "How often a busy or unreachable model is asked again before its first word."
    )
    scripted: bool = Field(
        default=False,
        description=("Whether the models `scripted:*` are available, for tests. Not allowed in production."),
    )

    @property
    def wants_embedded(self) -> bool:
        """Whether `responsa up` starts the model on this machine."""
        return self.embedded.start or any(name.startswith("embedded:") for name in self.default)

    @property
    def own_servers(self) -> Mapping[str, CompatibleSettings]:
        return {
            name: self._complete(**server.model_dump(exclude_unset=True))
            for name, server in self.servers.items()
        }

    @property
    def language_vendors(self) -> Mapping[str, CompatibleSettings]:
        # OpenAI's newer models refuse `max_tokens`.
        return {
            name: self._find_vendor(
                name, wire=name, completion_limit=name == "openai", documents=name == "anthropic"
            )
            for name in ADAPTERS
        }

    @property
    def reranking_vendors(self) -> Mapping[str, CompatibleSettings]:
        return {name: self._find_vendor(name, rerank=name) for name in RERANKING_VENDORS}

    def _find_vendor(self, name: str, **kind: object) -> CompatibleSettings:
        section = self.vendors.get(name, VendorSettings())
        limits = {field: getattr(self, field) for field in CallLimitSettings.model_fields}
        url = section.url or _URLS[name]
        return self._complete(**limits, url=url, api_key=section.api_key, **kind)

    def _complete(self, **values: object) -> CompatibleSettings:
        times = {"idle_seconds": self.patience_seconds, "wait_seconds": WAIT_SECONDS}
        return CompatibleSettings.model_validate({**times, **values})
