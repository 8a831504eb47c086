"""Scripted models. They are deterministic, and run in this process without a server. They are for tests, demonstrations
and measurements, never for production."""

from __future__ import annotations

from collections.abc import Mapping

from responsa_lab.scripted.obedient import Obedient
from responsa_lab.scripted.readers import Eager, LabelledReader
from responsa_lab.scripted.strong import Broken, FailureKind, Strong, ToolCallingModel
from responsa_server.domain.models import ChatModel

PROVIDER = "scripted"
PRICED = "priced"
"""`scripted:priced` is `scripted:strong` with the prices below, so that costs can be counted and limited without a
vendor's key. All other scripted models cost nothing."""
PRICES = {"input": "2", "cached_input": "0.2", "cache_write": "2.5", "output": "10"}
"""The prices in US dollars per million tokens. They are close to the prices of a vendor's medium model in 2026."""


def scripted_models(idle_seconds: float = 60.0) -> Mapping[str, ChatModel]:
    """All scripted models, by the name `scripted:NAME`. idle_seconds: the number of seconds without a word after which
    a model raises TIMEOUT, as an adapter does."""
    models: list[ChatModel] = [
        Strong(),
        Strong(PRICED),
        Obedient(),
        Obedient("heedless", inside=True),
        ToolCallingModel(),
        LabelledReader(),
        Eager(),
        *(Broken(kind, idle_seconds) for kind in FailureKind),
    ]
    return {f"{PROVIDER}:{model.name}": model for model in models}
