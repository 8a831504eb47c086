"""The default model that an owner of the installation chooses, as long as no setting of the operator names one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from math import inf
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog
from cryptography.exceptions import InvalidTag
from pydantic import SecretStr, ValidationError

from responsa_server.agents.engine.asking import FAULTS
from responsa_server.app.embedders import ConfiguredEmbedders
from responsa_server.app.models import EMBEDDED, EMBEDDED_MODEL, SCRIPTED, list_models, warn_of_spending
from responsa_server.app.settings import Settings, environment
from responsa_server.app.tools import read_secret
from responsa_server.domain.breakers import Breakers, CircuitsPart
from responsa_server.domain.errors import InvalidRequest, Precondition, Reason, ResponsaError
from responsa_server.domain.model_settings import (
    DefaultModel,
    InstalledModels,
    ModelAdministration,
    ModelProvider,
    ModelTest,
    ModelTestOutcome,
    ModelTestStep,
    OfferedEmbedding,
)
from responsa_server.domain.models import (
    FREE,
    ChatModel,
    Ended,
    ModelError,
    ModelFault,
    ModelPrompt,
    Price,
    PriceTable,
    PromptMessage,
    Provenance,
    Role,
    Stop,
    TextPiece,
    ToolCard,
    ToolRequest,
    Withdrawn,
)
from responsa_server.domain.parts import Health, PartReport
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.domain.quotas import Metric, error_of_unpriced
from responsa_server.domain.tools import SecretPlace, ToolUnfit
from responsa_server.identity.tokens import Secret
from responsa_server.outbound.addresses import Allowed, OutboundError, is_private, origin_of, read_allowed
from responsa_server.outbound.authorities import REMEDY
from responsa_server.outbound.connector import look_up
from responsa_server.providers.embedding import EMBEDDERS, embeddings_of
from responsa_server.providers.http_model import CERTIFICATE, NOT_ALLOWED, HttpModel
from responsa_server.providers.learned import FIELDS, TEST, Facts
from responsa_server.providers.prices import price_of
from responsa_server.providers.settings import (
    ADAPTERS,
    COMPATIBLE,
    VENDOR_NAMES,
    GuardedSettings,
)
from responsa_server.providers.table import Provider, ProviderTable, providers
from responsa_server.search.settings import EMBEDDED_MODEL as EMBEDDED_VECTORS
from responsa_server.stores.postgres.default_model import PostgresDefaultModel

FIXED_BY: Final = "models.default"
"""The setting that fixes the default model."""
EMBEDDING_FIXED_BY: Final = "retrieval.embedding"
"""The setting that fixes the embedding model of new collections."""
TEST_SECONDS: Final = 120.0
"""How long a test takes at most."""
_LOOK_UP_SECONDS: Final = 3.0
_ANSWER_SECONDS: Final = 1.5
"""How long a look at the health waits for a server of models."""
_AWAY_SECONDS: Final = 10.0
"""How long a server of models that is away is not asked again."""
_RESOURCE: Final = "defaultModel/-"
# Other secrets of the environment cannot be sent to an address that somebody enters on the page.
_KEYS: Final = "MODEL_"
_HTTP_NOT_FOUND: Final = 404
STORED: Final = "stored"
"""Where the key is that an owner has entered."""
_ASKED: Final = PromptMessage(Role.USER, "Answer with the word OK.")
_CARD: Final = ToolCard(
    "look_up",
    "Says at which hour a shop opens.",
    {"type": "object", "properties": {"shop": {"type": "string"}}, "required": ["shop"]},
)
_PROMPT: Final = ModelPrompt(
    [
        PromptMessage(Role.SYSTEM, "You answer in a few words."),
        PromptMessage(Role.USER, "Where is the shop?"),
        PromptMessage(Role.ASSISTANT, "In the old town."),
        PromptMessage(Role.USER, "Is it large?"),
        PromptMessage(Role.ASSISTANT, "No."),
        PromptMessage(Role.USER, "[1]\nThe shop sells bread and salt.", place=Provenance.RETRIEVED),
        PromptMessage(Role.USER, "At which hour does the shop open? Use the tool."),
    ],
    "model-test",
    [_CARD],
    max_tokens=64,
    temperature=0.2,
    purpose=TEST,
)
"""As agents' prompts are."""
_SCHEMA: Final = {
    "type": "object",
    "properties": {"word": {"type": "string"}},
    "required": ["word"],
    "additionalProperties": False,
}
_FILLING: Final = "The shop sells bread and salt. "
_OUTCOMES: Final[Mapping[ModelFault, ModelTestOutcome]] = {
    ModelFault.UNREACHABLE: ModelTestOutcome.UNREACHABLE,
    ModelFault.TIMEOUT: ModelTestOutcome.TOO_SLOW,
    ModelFault.CREDENTIAL: ModelTestOutcome.KEY_REFUSED,
    ModelFault.RATE_LIMITED: ModelTestOutcome.BUSY,
    ModelFault.OVERLOADED: ModelTestOutcome.BUSY,
}
_CAUSES: Final = {**FAULTS, ModelFault.OVERLOADED: "is overloaded, or answers with errors (HTTP 5xx)"}
_REMEDIES: Final[Mapping[ModelFault, str]] = {
    ModelFault.UNREACHABLE: "Check its address, that it runs, and that its certificate is trusted.",
    ModelFault.OVERLOADED: "Read its log, or add a second model.",
    ModelFault.TIMEOUT: "Choose a faster model, or raise models.patience_seconds.",
    ModelFault.CREDENTIAL: "Check its key, and the credit of its account.",
    ModelFault.RATE_LIMITED: "Ask for higher limits, or add a second model.",
}
_OTHER_REMEDY: Final = "Test the model: the test says what its server does not take."


class DefaultModels:
    """Implements `ModelAdministration`. `refresh` takes over what another process has stored."""

    def __init__(
        self,
        settings: Settings,
        table: ProviderTable,
        embedders: ConfiguredEmbedders,
        store: PostgresDefaultModel,
        secret: Secret,
    ) -> None:
        """secret: of the installation, under which the key that an owner enters is stored."""
        self.embedders = embedders
        # An operator's own model for vectors is not changed from the page.
        self._embedding_fixed = settings.retrieval.embedding != EMBEDDED_VECTORS
        self._secret = secret
        # What only this machine can reach is the owner's own.
        own = ("127.0.0.1", "::1", "localhost") if settings.local else ()
        self._allowed: Allowed = read_allowed([*settings.models.allow_private, *own])
        self._whole = settings
        self._settings = settings.models
        self._own_prices = table.prices.own
        self._table = table
        self._store = store
        self._fixed = tuple(settings.models.default)
        self.in_use: Sequence[str] = self._fixed
        self.judge = ""
        """The model that checks answers, `provider:model`; "" if the owner has chosen none."""
        self.problem: str = ""
        self._log = structlog.get_logger("models")

    async def refresh(self) -> Sequence[str]:
        """Let the table use the stored model. A model that cannot be used counts as none. Returns the models that
        `default` now stands for. Raises Unavailable."""
        await self._exchange_facts()
        if not self._fixed:
            stored, _ = await self._store.get()
            provider, problem = await asyncio.to_thread(self._provider, stored)
            if problem and problem != self.problem:
                self._log.warning("default_model_not_usable", model=stored.name, problem=problem)
            if provider is not None:
                self._table.use_provider(stored.provider, provider)
            self._table.prices.own = {**self._own_prices, **self._find_prices(stored)}
            self.problem = problem
            self.in_use = (stored.name,) if stored.provider and not problem else ()
            self._table.use_default(self.in_use)
            self.judge = stored.of_provider(stored.judge) if self.in_use else ""
            usable = self.in_use and not self._embedding_fixed
            chosen = stored.of_provider(stored.embedding) if usable else ""
            self.embedders.chosen = "" if self.embedders.problem(chosen) else chosen
        return self.in_use

    async def read(self) -> InstalledModels:
        stored, update_time = await self._store.get()
        offered = await asyncio.to_thread(self._list_providers)
        refused = "" if self._fixed or self.problem else await self._refusal_of(stored)
        failing = " ".join(sentence for name, sentence in tell_failing(self._table) if name in self.in_use)
        in_use = () if refused else self.in_use
        spending = warn_of_spending(self._whole, in_use, self._table.prices)
        _, key_in_use = await asyncio.to_thread(self._find_key, stored)
        return InstalledModels(
            in_use,
            FIXED_BY if self._fixed else "",
            stored,
            update_time,
            self.problem or refused or failing,
            f"{spending[0]}: {spending[1]}." if spending else "",
            list(offered.values()),
            key_in_use,
            bool(stored.sealed_key),
            self.embedders.configured,
            EMBEDDING_FIXED_BY if self._embedding_fixed else "",
            list_shown(self._table.facts(in_use[0])) if in_use else {},
        )

    async def store(self, caller: Principal, wanted: DefaultModel, *, skip_test: bool) -> None:
        if self._fixed:
            message = (
                f"The operator of this server has fixed the default model with the setting {FIXED_BY}: {', '.join(self._fixed)}. "
                "Remove the setting, and start the server again."
            )
            raise Precondition(Reason.MODEL_FIXED, message, {"setting": FIXED_BY})
        if wanted != DefaultModel():
            offered = await asyncio.to_thread(self._check, wanted)
            if not wanted.model:
                raise _wrong("model", "must name a model of the provider")
            if (wanted.input_usd_micros is None) != (wanted.output_usd_micros is None):
                lacking = "input_usd_micros" if wanted.input_usd_micros is None else "output_usd_micros"
                raise _wrong(lacking, "must be given, as the other price is; enter both or none")
            if wanted.embedding and self._embedding_fixed:
                message = f"The operator of this server has fixed the embedding model with the setting {EMBEDDING_FIXED_BY}."
                raise Precondition(Reason.MODEL_FIXED, message, {"setting": EMBEDDING_FIXED_BY})
            prices = self._table.prices.replace_own({**self._own_prices, **self._find_prices(wanted)})
            names = filter(None, (wanted.name, wanted.of_provider(wanted.judge)))
            await self.check_prices(caller.tenant_id, names, prices)
            wanted = await self._take_stored_key(wanted)
            if (
                not skip_test
                and (tested := await self._ask_for(wanted, offered)).outcome is not ModelTestOutcome.ANSWERED
            ):
                outcome = {"outcome": tested.outcome.name}
                raise Precondition(Reason.MODEL_TEST_FAILED, tested.message, outcome)
        if wanted.api_key:
            sealed = self._secret.seal_credential(_server_of(wanted), wanted.api_key)
            wanted = replace(wanted, api_key="", sealed_key=sealed)
        await self._store.put(wanted, AuditEvent.of_call(caller, _RESOURCE))
        await self._exchange_facts(wanted.name)

    async def test(self, caller: Principal, wanted: DefaultModel) -> ModelTest:
        offered = await asyncio.to_thread(self._check, wanted)
        tested = await self._ask_for(await self._take_stored_key(wanted), offered)
        await self._store.record(AuditEvent.of_call(caller, _RESOURCE))
        stored, _ = await self._store.get()
        if tested.outcome is ModelTestOutcome.ANSWERED and _server_of(stored) == _server_of(wanted):
            await self._exchange_facts(wanted.name)
        return tested

    async def _exchange_facts(self, answering: str = "") -> None:
        self._table.learned.note_call(answering, None)
        sent = self._table.learned.take_new()
        self._table.learned.replace(await self._store.exchange(sent), sent)

    async def check_prices(
        self, tenant_id: str, names: Iterable[str], prices: PriceTable | None = None
    ) -> None:
        """Raises Precondition (PRICE_UNKNOWN) if a quota or budget of the tenant is in money, and the price of one of the models is
        not known. prices: None for those of the models in use."""
        price, today = (prices or self._table.prices).price, datetime.now(UTC).date()
        unpriced = next((name for name in names if price(name, today) is None), "")
        limited = self._whole.quotas.quota.limits(Metric.COST_MICROS)
        if unpriced and (limited or await self._store.limits_money(tenant_id)):
            raise error_of_unpriced(unpriced, "Enter it")

    def _find_prices(self, wanted: DefaultModel) -> Mapping[str, Price]:
        """The prices that an owner gives, or the address shows."""
        prices = dict[str, Price]()
        if wanted.provider == COMPATIBLE and is_private(
            urlsplit(wanted.base_url).hostname or "", self._settings.allow_private
        ):
            prices[COMPATIBLE] = FREE
        if wanted.input_usd_micros is not None and wanted.output_usd_micros is not None:
            # Dollars per million tokens equal micro-dollars per token.
            read, written = wanted.input_usd_micros, wanted.output_usd_micros
            prices[wanted.name] = price_of(Decimal(read) / 1_000_000, Decimal(written) / 1_000_000)
        return prices

    async def _take_stored_key(self, wanted: DefaultModel) -> DefaultModel:
        """The model with the stored key, if this is for the same server and no other key is given."""
        stored, _ = await self._store.get()
        if wanted.api_key or wanted.key_name or _server_of(stored) != _server_of(wanted):
            return wanted
        return replace(wanted, sealed_key=stored.sealed_key)

    async def _ask_for(self, wanted: DefaultModel, offered: ModelProvider) -> ModelTest:
        """Send the model what agents send; if none is named, ask its provider for the names of its models."""
        if offered.models and not wanted.model:
            models = dict.fromkeys(offered.models, 0)
            return ModelTest(ModelTestOutcome.ANSWERED, _choice_hint(offered.models), models=models)
        provider, problem = await asyncio.to_thread(self._provider, wanted)
        if problem:
            missing = ModelTestOutcome.KEY_MISSING if offered.takes_key_name else ModelTestOutcome.FAILED
            return ModelTest(missing, problem)
        began = time.monotonic()
        models: Mapping[str, int] = {}
        steps, kind, received, key = list[ModelTestStep](), "", "", ""
        try:
            async with asyncio.timeout(TEST_SECONDS):
                models = await self._ask(wanted, provider, steps)
            outcome = ModelTestOutcome.ANSWERED
        except TimeoutError:
            outcome = ModelTestOutcome.ANSWERED if _writes(steps) else ModelTestOutcome.TOO_SLOW
        except ModelError as error:
            outcome, kind, received = _outcome(error), error.kind, error.received
            self._log.info(
                "model_test_failed", model=wanted.name, cause=error.fault.value, detail=error.detail
            )
        except ResponsaError as error:  # of the embedding model
            return ModelTest(ModelTestOutcome.FAILED, error.message, time.monotonic() - began, steps=steps)
        if outcome is ModelTestOutcome.ANSWERED and not wanted.model:
            message = _choice_hint(models)
        else:
            _, key = await asyncio.to_thread(self._find_key, wanted)
            message = _message(outcome, wanted, offered, kind, key, received)
        url = wanted.base_url or offered.base_url
        learned = list_shown(self._table.learned.of((url.rstrip("/"), wanted.model)))
        return ModelTest(outcome, message, time.monotonic() - began, models, steps, learned)

    async def _ask(
        self, wanted: DefaultModel, provider: Provider | None, steps: list[ModelTestStep]
    ) -> Mapping[str, int]:
        """Ask the model step by step, or, if none is named, its provider for the models with their windows. Raises ModelError if no
        answer can come."""
        provider = provider or self._table.providers.get(wanted.provider)
        adapter = None if provider is None else provider.adapter(wanted.model)
        model = adapter or self._table.serverless(wanted.name)
        assert model is not None, "the name was checked"
        try:
            if adapter is not None:
                adapter.learned = self._table.learned
                if not wanted.model:
                    return await adapter.list_models()
            bare = replace(_PROMPT, messages=[_ASKED], tools=(), temperature=None, without=frozenset(FIELDS))
            await self._step("answer", model, bare, steps)
            if requests := await self._step("prompt", model, _PROMPT, steps):
                results = [PromptMessage(Role.TOOL, "At nine.", answers=each.call_id) for each in requests]
                turns = [*_PROMPT.messages, PromptMessage(Role.ASSISTANT, "", requests), *results]
                await self._step("tool", model, replace(_PROMPT, messages=turns), steps)
            await self._step("schema", model, replace(_PROMPT, tools=(), schema=_SCHEMA), steps)
            if provider is not None and (window := provider.server.window):
                filling = PromptMessage(Role.USER, _FILLING * window, place=Provenance.RETRIEVED)
                long = [_PROMPT.messages[0], filling, _PROMPT.messages[-1]]
                await self._step(
                    "window", model, replace(_PROMPT, messages=long, max_tokens=window // 4), steps
                )
            if provider is not None and wanted.embedding:
                await self.embedders.test(wanted.of_provider(wanted.embedding), provider)
                steps.append(ModelTestStep("embedding", passed=True))
            return {}
        finally:
            if adapter is not None:
                await adapter.close()

    async def _step(
        self, name: str, model: ChatModel, prompt: ModelPrompt, steps: list[ModelTestStep]
    ) -> Sequence[ToolRequest]:
        """Send a prompt, and return the calls that the model requests. What its server refuses without a name is cured by leaving
        out, and learned. Raises ModelError if without this step no answer can come."""
        requests: Sequence[ToolRequest] = ()
        passed, detail = True, ""
        try:
            requests, answered = await _send(model, prompt)
            if not answered:
                raise ModelError(ModelFault.EMPTY, "the test", received="no text outside of reasoning.")
        except ModelError as error:
            cured = isinstance(model, HttpModel) and error.status and await _find_refused(model, prompt)
            if not (cured or _writes(steps)):
                raise
            passed, detail = bool(cured), "" if cured else error.received
        steps.append(ModelTestStep(name, passed=passed, detail=detail))
        return requests

    def _list_providers(self) -> Mapping[str, ModelProvider]:
        """The providers by name. Reads files."""
        providers: dict[str, ModelProvider] = {}
        for name, section in self._settings.language_vendors.items():
            providers[name] = ModelProvider(
                name,
                VENDOR_NAMES[name],
                _own_key(name),
                key_found=bool(self._find_key(DefaultModel(name))[0]),
                takes_key_name=True,
                base_url=section.url,
                takes_embedding=name in EMBEDDERS,
                embeddings=[self._offer_embedding(name, called) for called in embeddings_of(name)],
            )
        providers[COMPATIBLE] = ModelProvider(
            COMPATIBLE,
            "OpenAI-compatible server",
            takes_key_name=True,
            takes_base_url=True,
            takes_embedding=True,
        )
        for name, server in self._settings.servers.items():
            providers[name] = ModelProvider(
                name, name, base_url=server.url, takes_embedding=server.wire in EMBEDDERS
            )
        if self._settings.wants_embedded:
            title = "The model on this machine"
            providers[EMBEDDED] = ModelProvider(EMBEDDED, title, models=[EMBEDDED_MODEL])
        if self._settings.scripted:
            models = sorted(list_models(self._settings)[SCRIPTED])
            providers[SCRIPTED] = ModelProvider(SCRIPTED, "Scripted models, for tests", models=models)
        return providers

    def _offer_embedding(self, provider: str, model: str) -> OfferedEmbedding:
        price = self._table.price(f"{provider}:{model}")
        # Dollars per million tokens equal micro-dollars per token.
        return OfferedEmbedding(model, 0 if price is None else int(price.input * 1_000_000))

    def _check(self, wanted: DefaultModel) -> ModelProvider:
        """The provider of a model. Reads files. Raises InvalidRequest."""
        offered = self._list_providers()
        provider = offered.get(wanted.provider)
        if provider is None:
            raise _wrong("provider", f"must be one of {', '.join(offered)}")
        if provider.models and wanted.model and wanted.model not in provider.models:
            raise _wrong("model", f"must be one of {', '.join(provider.models)}")
        if wanted.judge and provider.models and wanted.judge not in provider.models:
            raise _wrong("judge", f"must be a model of {provider.display_name}")
        if wanted.embedding and not provider.takes_embedding:
            raise _wrong("embedding", f"must be empty: {provider.display_name} has no embedding models")
        if wanted.api_key and (wanted.key_name or not provider.takes_key_name):
            raise _wrong(
                "api_key", "must be empty beside key_name" if wanted.key_name else "must be empty here"
            )
        own = wanted.key_name == provider.key_name
        if wanted.key_name and not (provider.takes_key_name and (own or wanted.key_name.startswith(_KEYS))):
            known = " or ".join(filter(None, [provider.key_name, f"a name that begins with {_KEYS}"]))
            raise _wrong("key_name", f"must be {known}" if provider.takes_key_name else "must be empty here")
        if provider.takes_base_url:
            self._check_address(wanted)
        elif wanted.base_url:
            raise _wrong(
                "base_url", f"must be empty: the settings give the address of {provider.display_name}"
            )
        return provider

    def _check_address(self, wanted: DefaultModel) -> None:
        try:
            origin = origin_of(wanted.base_url)
            self._guard(wanted, "")
        except (OutboundError, ValidationError):
            message = "must be an address such as http://127.0.0.1:11434/v1, without user, password and query"
            raise _wrong("base_url", message) from None
        has_key = wanted.key_name or wanted.api_key
        if has_key and origin.scheme == "http" and not self._allowed.names(origin.host):
            message = "must begin with https:// if there is a key, unless the setting models.allow_private names the host"
            raise _wrong("base_url", message)

    def _provider(self, wanted: DefaultModel) -> tuple[Provider | None, str]:
        """The provider with the model's key and address; None if the table's own provider has them, or if there is no
        model. And why the model cannot be used, or "". Reads files."""
        if not wanted.provider:
            return None, ""
        if wanted.provider != COMPATIBLE and wanted.provider not in ADAPTERS:
            return None, self._table.problem(wanted.name) or ""
        key, _ = self._find_key(wanted)
        key_name = wanted.key_name or _own_key(wanted.provider)
        if not key and wanted.sealed_key:
            return (
                None,
                "This server cannot decrypt the stored key, because its secret is another one. Paste the key again.",
            )
        if key_name and not key:
            return None, (
                f"There is no key under the name {key_name}. Paste the key, put it into a file of this name in the "
                "folder RESPONSA_SECRETS_DIR, or set "
                "the environment variable and start the server again."
            )
        if wanted.provider == COMPATIBLE:
            return Provider(self._guard(wanted, key)), ""
        known = providers(self._settings)[wanted.provider]
        fields = {"api_key": SecretStr(key), "window": wanted.window or None}
        return replace(known, server=known.server.model_copy(update=fields)), ""

    def _guard(self, wanted: DefaultModel, key: str) -> GuardedSettings:
        return GuardedSettings(
            url=wanted.base_url, api_key=SecretStr(key), window=wanted.window or None, allowed=self._allowed
        )

    async def _refusal_of(self, stored: DefaultModel) -> str:
        """Why the server may not connect to the address of the stored model; "" if it may, or if the address is not known now."""
        if stored.provider == COMPATIBLE:
            origin, allowed = origin_of(stored.base_url), self._allowed
            with contextlib.suppress(OSError, ValueError):
                async with asyncio.timeout(_LOOK_UP_SECONDS):
                    addresses = await look_up(origin.host, origin.port)
                if not all(allowed.may_reach(origin.host, address) for address in addresses):
                    return _not_allowed(stored.base_url)
        return ""

    def _find_key(self, wanted: DefaultModel) -> tuple[str, str]:
        """The key, and the name under which it was found, `STORED`, or "" for one that was entered now; "", "" for no key."""
        if wanted.api_key:
            return wanted.api_key, ""
        name = wanted.key_name or _own_key(wanted.provider)
        folder = environment().get("RESPONSA_SECRETS_DIR")
        for source in (SecretPlace(env=name), SecretPlace(file=name)):
            if name and (source.env or folder):
                with contextlib.suppress(ToolUnfit):
                    return read_secret(source, Path(folder or "")), name
        vendor = self._settings.language_vendors.get(wanted.provider)
        if vendor and name == _own_key(wanted.provider) and (key := vendor.api_key.get_secret_value()):
            return key, name
        if wanted.sealed_key:
            with contextlib.suppress(InvalidTag):
                return self._secret.unseal_credential(_server_of(wanted), wanted.sealed_key), STORED
        return "", ""


def _writes(steps: Sequence[ModelTestStep]) -> bool:
    return any(step.name == "prompt" and step.passed for step in steps)


async def _send(model: ChatModel, prompt: ModelPrompt) -> tuple[Sequence[ToolRequest], bool]:
    """The calls that the model requests, and whether it answers, or had no word left for that. Raises ModelError."""
    requests, text, cut = list[ToolRequest](), "", False
    async with aclosing(model.stream(prompt)) as pieces:
        async for piece in pieces:
            requests += [piece] if isinstance(piece, ToolRequest) else []
            text = "" if isinstance(piece, Withdrawn) else text
            text += piece.text if isinstance(piece, TextPiece) else ""
            cut |= isinstance(piece, Ended) and piece.stop is Stop.LIMIT
    return requests, bool(text.strip()) or cut or bool(requests and prompt.tools)


async def _find_refused(model: HttpModel, prompt: ModelPrompt) -> bool:
    """Learn what the server refuses of a prompt, by leaving all out and then adding each again. Returns whether it takes the rest."""
    out = frozenset(FIELDS)
    for name in ("", *FIELDS):
        try:
            await _send(model, replace(prompt, without=out - {name}))
            out -= {name}
        except ModelError:
            if not name:
                return False
    model.learned.note(model.key, dict.fromkeys(out, 0))
    return True


def tell_failing(models: ProviderTable) -> Sequence[tuple[str, str]]:
    """Each model that has failed three times in a row for one cause, and a sentence with the cause and the remedy."""
    return [
        (
            name,
            f"The model {name} has failed three times in a row: its server {_CAUSES[fault]}. {_REMEDIES.get(fault, _OTHER_REMEDY)}",
        )
        for name, fault in models.learned.list_failing().items()
    ]


def list_shown(facts: Facts) -> Mapping[str, int]:
    """Those facts that people are told."""
    return {name: int(value) for name, value in facts.items() if name in (*FIELDS, "window", "text_calls")}


def _server_of(model: DefaultModel) -> str:
    """What a stored key is for."""
    return f"{model.provider} {model.base_url.rstrip('/')}"


def _choice_hint(models: Collection[str]) -> str:
    return "Choose one of the models." if models else "The server names no models. Enter the model's name."


def _own_key(provider: str) -> str:
    return "" if provider == COMPATIBLE else f"{provider.upper()}_API_KEY"


def _wrong(name: str, description: str) -> InvalidRequest:
    return InvalidRequest.of_field(f"default_model.{name}", f"default_model.{name}", description)


def _outcome(error: ModelError) -> ModelTestOutcome:
    if error.kind == NOT_ALLOWED:
        return ModelTestOutcome.ADDRESS_NOT_ALLOWED
    if error.status == _HTTP_NOT_FOUND:
        return ModelTestOutcome.NOT_FOUND
    return _OUTCOMES.get(error.fault, ModelTestOutcome.FAILED)


def _not_allowed(url: str) -> str:
    return (
        f"The server may not connect to {urlsplit(url).hostname}, because it is not a public "
        "address. If it is your own server, the operator allows it "
        "with the setting models.allow_private (RESPONSA_MODELS__ALLOW_PRIVATE)."
    )


def _message(
    outcome: ModelTestOutcome,
    wanted: DefaultModel,
    provider: ModelProvider,
    kind: str,
    key: str,
    received: str,
) -> str:
    """key: the name of the key that was used; "" if it was entered now, or if there is none. received: what came instead of an answer."""
    url = wanted.base_url or provider.base_url
    where = url or provider.display_name
    came = f" It sent: {received}" if received else ""
    named = f"the key under the name {key}" if key not in ("", STORED) else "the key"
    match outcome:
        case ModelTestOutcome.ANSWERED:
            return "The model has answered."
        case ModelTestOutcome.KEY_REFUSED if key or wanted.api_key:
            return f"{where} refuses {named}, or its account has no credit. Check the key."
        case ModelTestOutcome.KEY_REFUSED:
            return f"{where} needs a key. Paste it, or enter the name of a secret file or an environment variable."
        case ModelTestOutcome.ADDRESS_NOT_ALLOWED:
            return _not_allowed(url)
        case ModelTestOutcome.UNREACHABLE if kind == CERTIFICATE:
            return f"The certificate of {where} is not from an authority that this server knows. {REMEDY}"
        case ModelTestOutcome.UNREACHABLE:
            return f"No HTTP server answers at {where}. Check the address, and whether the server runs."
        case ModelTestOutcome.NOT_FOUND if not wanted.model:
            return f"{where} lists no models. Check that the address ends with the version, such as /v1, or enter the model's name."
        case ModelTestOutcome.NOT_FOUND:
            return f"{where} has no model “{wanted.model}”, or the address does not end with the version, such as /v1."
        case ModelTestOutcome.TOO_SLOW:
            return f"The model did not answer within {TEST_SECONDS:.0f} seconds. Try again, or choose a faster model."
        case ModelTestOutcome.BUSY:
            return f"{where} takes no more calls now, or has an error.{came} Try again in a minute."
        case _:
            return (
                f"{where} did not answer as expected.{came} The server's log says more (model_test_failed)."
            )


class ModelsPart:
    """The models that answer by default, and the circuits of all models. Implements `ReportedPart`.

    A server of models is asked once whether it is there, and again while it is not; afterwards its circuits tell.
    """

    name = "models"

    def __init__(
        self, administration: ModelAdministration, models: ProviderTable, breakers: Breakers
    ) -> None:
        self._administration = administration
        self._models = models
        self._circuits = CircuitsPart(
            self.name, breakers, {"model:": "The model {}".format, "key:": "The provider {}".format}
        )
        # Until when a model is not asked again, and why it does not answer.
        self._probed: dict[str, tuple[float, str]] = {}

    async def check(self) -> PartReport:
        """Report models as DEGRADED that do not answer, or that this server cannot use, each in a line."""
        circuits = await self._circuits.check()
        names = self._administration.in_use
        away = await asyncio.gather(*map(self._probe, names))
        lines = [
            *([circuits.detail] if circuits.detail else []),
            *([f"The default model: {problem}"] if (problem := self._administration.problem) else []),
            *(
                f"The model {name} does not answer: {why}. Check its address, and that it runs."
                for name, why in zip(names, away, strict=True)
                if why
            ),
            *(sentence for _, sentence in tell_failing(self._models)),
        ]
        return PartReport(Health.DEGRADED, detail="\n".join(lines)) if lines else PartReport(Health.OK)

    async def _probe(self, name: str) -> str:
        until, why = self._probed.get(name, (0.0, ""))
        if time.monotonic() >= until:
            why = await self._models.probe(name, _ANSWER_SECONDS)
            self._probed[name] = (time.monotonic() + _AWAY_SECONDS if why else inf, why)
        return why
