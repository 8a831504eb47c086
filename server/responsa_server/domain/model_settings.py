"""The model that `default` stands for in the chains of agents, as an owner of the installation chooses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from responsa_contract import ModelTestOutcome
from responsa_server.domain.people import Principal


@dataclass(frozen=True, slots=True)
class DefaultModel:
    """A model, by the names that the contract gives them. provider: "" for no model. key_name: of a secret file or an
    environment variable. base_url: "" for the provider's own address. embedding: the provider's model for the vectors
    of new collections, "" for the server's own. judge: its model that checks answers, "" for none. window: the most
    tokens of a prompt and its answer together, 0 if unknown. input_usd_micros, output_usd_micros: the price of a million
    tokens, if an owner gave one. api_key: a key that was entered now. sealed_key: the stored one, encrypted; b"" for none.
    """

    provider: str = ""
    model: str = ""
    key_name: str = ""
    base_url: str = ""
    embedding: str = ""
    window: int = 0
    judge: str = ""
    input_usd_micros: int | None = None
    output_usd_micros: int | None = None
    api_key: str = field(default="", repr=False)
    sealed_key: bytes = field(default=b"", repr=False)

    @property
    def name(self) -> str:
        """`provider:model`, or "" for no model."""
        return self.of_provider(self.model) if self.provider else ""

    def of_provider(self, model: str) -> str:
        """`provider:model` of another model of the provider, or "" for none."""
        return f"{self.provider}:{model}" if model else ""


@dataclass(frozen=True, slots=True)
class OfferedEmbedding:
    """A provider's embedding model; the fields are those of the contract."""

    model: str
    usd_micros_per_million_tokens: int


@dataclass(frozen=True, slots=True)
class ModelProvider:
    """A provider that can be chosen; the fields are those of the contract."""

    name: str
    display_name: str
    key_name: str = ""
    key_found: bool = False
    takes_key_name: bool = False
    takes_base_url: bool = False
    base_url: str = ""
    models: Sequence[str] = ()
    takes_embedding: bool = False
    embeddings: Sequence[OfferedEmbedding] = ()


@dataclass(frozen=True, slots=True)
class InstalledModels:
    """The models in use on this server, and the stored model. fixed_by: the setting that fixes the models, or "".
    update_time: None if no model was ever stored. key_in_use, key_stored, embedding, embedding_fixed_by: see the contract."""

    models: Sequence[str]
    fixed_by: str
    default_model: DefaultModel
    update_time: datetime | None
    problem: str
    warning: str
    providers: Sequence[ModelProvider]
    key_in_use: str = ""
    key_stored: bool = False
    embedding: str = ""
    embedding_fixed_by: str = ""
    learned: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class ModelTestStep:
    """What a test sent, and whether the model took it; the fields are those of the contract."""

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ModelTest:
    """The end of a test. message: a sentence with the remedy, without keys. models: those that the provider has, if it was
    asked for them, with their windows. learned: see the contract."""

    outcome: ModelTestOutcome
    message: str
    seconds: float = 0.0
    models: Mapping[str, int] = field(default_factory=dict[str, int])
    steps: Sequence[ModelTestStep] = ()
    learned: Mapping[str, int] = field(default_factory=dict[str, int])


class ModelAdministration(Protocol):
    """Chooses the default model. The caller must be an owner of the installation; the authorisation table checks this."""

    @property
    def in_use(self) -> Sequence[str]:
        """The models that `default` stands for on this server."""
        ...

    @property
    def problem(self) -> str:
        """Why this server cannot use the stored model, with the remedy; "" if it can, or if there is none."""
        ...

    async def read(self) -> InstalledModels:
        """Raises Unavailable."""
        ...

    async def store(self, caller: Principal, wanted: DefaultModel, *, skip_test: bool) -> None:
        """Raises InvalidRequest, Precondition (MODEL_FIXED, MODEL_TEST_FAILED, PRICE_UNKNOWN), Unavailable. Agents use the model once
        they are reloaded."""
        ...

    async def test(self, caller: Principal, wanted: DefaultModel) -> ModelTest:
        """Raises InvalidRequest, Unavailable."""
        ...
