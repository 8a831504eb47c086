"""Scripted models: deterministic, in this process, without a server. For tests, demonstrations and measurements; never in production."""

from __future__ import annotations

from collections.abc import Mapping

from responsa_lab.scripted.broken import Broken, Kind
from responsa_lab.scripted.obedient import Obedient
from responsa_lab.scripted.strong import Strong
from responsa_server.domain.models import ChatModel

PROVIDER = "scripted"
PRICED = "priced"
"""`scripted:priced` is `scripted:strong` at the prices below: costs can be counted and limited without a vendor's key. All others cost nothing."""
PRICES = {"input": "2", "cached_input": "0.2", "cache_write": "2.5", "output": "10"}
"""US dollars for a million tokens; about the price of a vendor's middle model in 2026."""


def scripted_models(idle_seconds: float = 60.0) -> Mapping[str, ChatModel]:
    """All scripted models, by `scripted:name`. idle_seconds: the time after which a silent one fails, as with an adapter."""
    found: list[ChatModel] = [
        Strong(),
        Strong(PRICED),
        Obedient(),
        Obedient("heedless", inside=True),
        *(Broken(kind, idle_seconds) for kind in Kind),
    ]
    return {f"{PROVIDER}:{one.name}": one for one in found}
