"""Classifiers are trained once, by the first caller that needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from responsa_server.agents.config.build import LazyClassifier, classifiers
from responsa_server.domain.intents import Classified, Example, ExamplesUnfit, IntentClassifier

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

    async def trained(self, examples: Sequence[Example], *, key: bytes) -> IntentClassifier:
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
