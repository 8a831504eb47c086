"""The limit on the cost of an agent's calls, and the warning about models without a known price."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from responsa_server.agents.config.build import (
    BuildContext,
    BuildFailed,
    ConfiguredAgent,
    LazyClassifier,
    build,
    classifiers,
    dearest,
)
from responsa_server.agents.config.content import Content
from responsa_server.agents.config.files import SHIPPED
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.prompts import Untrusted
from responsa_server.agents.nodes.checking import CitationCheckerOptions
from responsa_server.agents.nodes.table import KINDS
from responsa_server.app.assemble import (
    citation_model,
    ingestion_model,
    require_default_models,
)
from responsa_server.app.studies import insight_model
from responsa_server.domain.counters import Counters
from responsa_server.domain.intents import Classified, Example, ExamplesUnfit, IntentClassifier
from responsa_server.domain.models import FREE, Ended, Price
from responsa_server.ingest.settings import IngestionSettings
from responsa_server.insight.settings import InsightSettings
from responsa_server.system.fixable import Fixable
from tests.unit.agents.config.test_content import DEFAULTS, content
from tests.unit.agents.configured import TEST_KINDS, write
from tests.unit.agents.evidence import FixedEvidence
from tests.unit.agents.shipping import Judge
from tests.unit.agents.speaking import Says


def price(read: int, said: int) -> Price:
    return Price(Decimal(read), Decimal(1), Decimal(2), Decimal(said))


@dataclass
class Known:
    """Implements `Models`. Every name stands for a model that sends no text."""

    prices: dict[str, Price] = field(default_factory=dict[str, Price])

    def chain(self, names: Sequence[str]) -> Says:
        return Says([Ended(complete=True)])

    def problem(self, name: str) -> str | None:
        return None

    def price(self, model: str) -> Price | None:
        return self.prices.get(model)

    def small(self, names: Sequence[str]) -> frozenset[str]:
        return frozenset()

    def requests_tools(self, names: Sequence[str]) -> bool:
        return True


def limit_cost(folder: Path, limit: int) -> Content:
    limits = ("agent.toml", "limits = { seconds = 30,", f"limits = {{ cost_micros = {limit}, seconds = 30,")
    return content(write(folder, limits))


def workshop(models: Known) -> BuildContext:
    fixed = FixedEvidence()
    return BuildContext(NodeParts(fixed), models, Counters(), DEFAULTS, kinds=TEST_KINDS)


def test_the_dearest_is_taken_field_by_field_and_asked_for_each_time() -> None:
    models = Known()
    chain = ["a:m", "b:m", "c:m"]
    assert dearest(models, []) is None
    assert dearest(models, chain) == replace(FREE, unpriced="a:m")
    models.prices = {"a:m": price(9, 1), "b:m": price(1, 5)}
    assert dearest(models, chain) == replace(price(9, 5), unpriced="c:m")
    models.prices["c:m"] = price(1, 70)
    assert dearest(models, chain) == price(9, 70)
    assert dearest(models, chain, "d:judge") == replace(price(9, 70), unpriced="d:judge")
    assert dearest(models, [], "d:judge") is None, "nothing is written that it could judge"


def built_parts(made: Content, models: Known) -> NodeParts:
    """The parts that the agent's `prompt` node gets."""
    seen = list[NodeParts]()
    kind = TEST_KINDS["prompt"]

    def make(parts: NodeParts, options: object, name: str) -> object:
        seen.append(parts)
        return kind.make(parts, options, name)

    build(made, replace(workshop(models), kinds={**TEST_KINDS, "prompt": replace(kind, make=make)}))
    (parts,) = seen
    return parts


@pytest.mark.parametrize(("marks", "form"), [("words", '[2: "at a lower'), ("number", "on a mountain. [2]`")])
def test_a_model_is_told_to_mark_by_words_or_by_numbers_alone(marks: str, form: str, tmp_path: Path) -> None:
    table = ("agent.toml", "model = { ", f'model = {{ marks = "{marks}", ')
    folder = write(tmp_path, table, ("prompts/write.md", "parts/tone.md", "parts/marks.md"))
    prompts = built_parts(content(folder, shared=SHIPPED / "shared"), Known()).prompts
    assert prompts is not None
    (system, *_) = prompts.render("write", {}, Untrusted("Why?"), "")
    assert form in system.text
    assert (': "' in system.text) is (marks == "words")


def test_an_agent_is_told_which_of_its_models_are_small(tmp_path: Path) -> None:
    class Little(Known):
        def chain(self, names: Sequence[str]) -> Says:
            return Says(name=",".join(names))

        def small(self, names: Sequence[str]) -> frozenset[str]:
            return frozenset(names[1:])

    parts = built_parts(limit_cost(tmp_path, 0), Little())
    assert parts.small == {"lab:small"}
    assert parts.model is not None
    assert parts.larger is not None
    assert (parts.model.name, parts.larger.name) == ("openai:gpt,lab:small", "openai:gpt")


def test_a_limit_that_a_model_without_a_price_does_not_meet_is_told(tmp_path: Path) -> None:
    def said(models: Known, limit: int) -> list[object]:
        shop = workshop(models)
        found = build(limit_cost(tmp_path / str(limit), limit), shop)
        with capture_logs() as logs:
            ConfiguredAgent(found, "agents/test/versions/1", b"", shop)
        return [log.get("unpriced") for log in logs if log["event"] == "agent_cost_not_limited"]

    half = Known({"openai:gpt": price(1, 1)})
    assert said(half, 100) == [["lab:small"]]
    assert said(half, 0) == []
    assert said(Known({"openai:gpt": price(1, 1), "lab:small": price(1, 1)}), 200) == []


class Lacking(Known):
    """Offers none of the models."""

    def chain(self, names: Sequence[str]) -> Says:
        raise KeyError(self.problem(names[0]))

    def problem(self, name: str) -> str | None:
        return f'There is no model "{name}" here.'


def test_who_has_named_a_model_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed) as caught:
        build(limit_cost(tmp_path, 0), workshop(Lacking()))
    own, default = caught.value.problems
    assert default.message == (
        "“default” stands for the setting models.default (RESPONSA_MODELS__DEFAULT), whose model "
        '“lab:small” is not available: there is no model "lab:small" here; correct the setting'
    )
    assert own.message == 'the model “openai:gpt” is not available: there is no model "openai:gpt" here'


def test_a_setting_that_names_a_model_in_vain_is_named_itself() -> None:
    require_default_models(Known(), ["a:b", "passages"])
    with pytest.raises(Fixable, match=r"models\.default \(RESPONSA_MODELS__DEFAULT\)") as caught:
        require_default_models(Lacking(), ["opnai:gpt-5"])
    assert str(caught.value).endswith(
        'names “opnai:gpt-5”, which is not available: there is no model "opnai:gpt-5" here; '
        "correct that, or name another model in this setting, and start again."
    )
    with pytest.raises(Fixable, match="must be the last"):
        require_default_models(Known(), ["passages", "a:b"])
    for key in ("metadata_model", "chunking_model"):
        named = IngestionSettings.model_validate({key: "opnai:gpt-5"})
        with pytest.raises(Fixable, match=rf"ingestion\.{key} \(RESPONSA_INGESTION__{key.upper()}\)"):
            ingestion_model(named, Lacking(), key)
        assert ingestion_model(named, Known(), key) is not None
        assert ingestion_model(IngestionSettings(), Lacking(), key) is None
    titles = InsightSettings(model="opnai:gpt-5")
    with pytest.raises(Fixable, match=r"insight\.model \(RESPONSA_INSIGHT__MODEL\)"):
        insight_model(titles, Lacking())
    assert insight_model(titles, Known()) is not None
    assert insight_model(InsightSettings(), Lacking()) is None
    with pytest.raises(Fixable, match=r"citations\.judge \(RESPONSA_CITATIONS__JUDGE\)"):
        citation_model("opnai:gpt-5", Lacking())
    assert citation_model("", Lacking()) is None
    asker = citation_model("opnai:gpt-5", Known())
    checker = KINDS["citation_checker"].make(
        NodeParts(judge=Judge(), citation_model=lambda: asker), CitationCheckerOptions(), "cite"
    )
    assert checker.calls_model


# Classifiers are trained once, by the first caller that needs them.
TEXT = '{"text": "Hello!", "label": "chat"}\n\n{"text": "How long?", "label": "qa"}\n{"text": "x", "label": "oos"}\n'


class Echo:
    """A classifier that gives every text the first label."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels

    async def classify(self, text: str) -> Classified:
        return Classified(self.labels[0], 1.0, in_scope=True)


class School:
    """Trains when the test allows it, and records the examples."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.trainings: list[tuple[Sequence[Example], bytes]] = []

    async def prepare(self, examples: Sequence[Example], *, key: bytes) -> IntentClassifier:
        self.trainings.append((examples, key))
        await self.open.wait()
        return Echo(["chat", "qa"])


async def test_all_who_ask_wait_for_one_training() -> None:
    school = School()
    one = LazyClassifier(TEXT, school)
    assert one.labels == ["chat", "qa"]
    assert school.trainings == []
    asking = [asyncio.create_task(one.classify("Hello!")) for _ in range(5)]
    await asyncio.sleep(0)
    school.open.set()
    assert [await task for task in asking] == [Classified("chat", 1.0, in_scope=True)] * 5
    ((examples, key),) = school.trainings
    assert [example.label for example in examples] == ["chat", "qa", "oos"]
    assert len(key) == 32


async def test_who_gives_up_takes_no_training_from_the_others() -> None:
    school = School()
    one = LazyClassifier(TEXT, school)
    first, second = (asyncio.create_task(one.ready()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    school.open.set()
    assert (await second).labels == ["chat", "qa"]


def test_examples_without_an_intent_are_refused() -> None:
    with pytest.raises(ExamplesUnfit):
        classifiers({"examples/a.jsonl": '{"text": "x", "label": "oos"}'}, School())
    assert classifiers({"examples/a.jsonl": TEXT}, None) == {}
