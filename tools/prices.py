"""Writes the table of prices, `server/responsa_server/providers/prices.json`, from the data of the package genai-prices (MIT).

The package is not a dependency, because it takes 60 MB when imported. Install it in a separate folder and pass the folder's path:

    pip install --no-deps --target FOLDER genai-prices==VERSION
    python tools/prices.py FOLDER
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

TARGET: Final = Path(__file__).parent.parent / "server/responsa_server/providers/prices.json"
# For each provider: the package's name, our name, and the prefixes of the names of its language models.
PROVIDERS: Final = (
    ("openai", "openai", ("gpt-", "chatgpt-", "o1", "o3", "o4", "codex")),
    ("anthropic", "anthropic", ("claude-",)),
    ("google", "gemini", ("gemini-", "gemma-")),
)
SPOKEN: Final = (
    "audio",
    "realtime",
    "image",
    "tts",
    "transcribe",
    "embedding",
    "live",
    "search",
    "computer-use",
)
ALWAYS: Final = "2020-01-01"
# Reranking models, which the package does not have: US dollars per million tokens (Voyage) or per thousand searches
# (Cohere), as the vendors published them in 2025.
RERANKING: Final = (
    ("cohere", "rerank-english-v3.0", "0", "2"),
    ("cohere", "rerank-multilingual-v3.0", "0", "2"),
    ("cohere", "rerank-v3.5", "0", "2"),
    ("voyage", "rerank-2", "0.05", "0"),
    ("voyage", "rerank-2-lite", "0.02", "0"),
    ("voyage", "rerank-2.5", "0.05", "0"),
    ("voyage", "rerank-2.5-lite", "0.02", "0"),
)
# Embedding models, of which the package gives no price of an output: US dollars per million tokens, from its data.
EMBEDDING: Final = (
    ("openai", "text-embedding-3-small", "0.02"),
    ("openai", "text-embedding-3-large", "0.13"),
    ("openai", "text-embedding-ada-002", "0.1"),
    ("gemini", "gemini-embedding-001", "0.15"),
)


def main() -> None:
    folder = sys.argv[1]
    sys.path.insert(0, folder)
    [distribution] = importlib.metadata.distributions(name="genai-prices", path=[folder])
    providers = importlib.import_module("genai_prices.data").providers
    rows = [
        {"provider": ours, **row}
        for theirs, ours, begins in PROVIDERS
        for provider in providers
        if provider.id == theirs
        for model in provider.models
        for row in rows_of(model)
        if row["model"].startswith(begins) and not any(word in row["model"] for word in SPOKEN)
    ]
    rows += [reranking(*row) for row in RERANKING]
    rows += [reranking(*row, "0") for row in EMBEDDING]
    unique = {(row["provider"], row["match"], row["model"], row["from"]): row for row in reversed(rows)}
    ordered = sorted(
        unique.values(), key=lambda row: (row["provider"], row["model"], row["match"], row["from"])
    )
    head = {
        "as_of": datetime.now(UTC).date().isoformat(),
        "currency": "USD",
        "source": (
            f"genai-prices {distribution.version} (MIT), the price without surcharges for long prompts;"
            " reranking models: tools/prices.py"
        ),
    }
    lines = ",\n".join("    " + json.dumps(row) for row in ordered)
    body = json.dumps(head, indent=2).removesuffix("\n}")
    TARGET.write_text(f'{body},\n  "models": [\n{lines}\n  ]\n}}\n', encoding="utf-8")


def reranking(provider: str, model: str, tokens: str, thousand_searches: str) -> dict[str, Any]:
    row = {"provider": provider, "match": "exact", "model": model, "from": ALWAYS}
    row |= {"input": tokens, "cached_input": tokens, "cache_write": tokens, "output": "0"}
    million = Decimal(thousand_searches) * 1000
    return row if not million else {**row, "search": str(million)}


def rows_of(model: Any) -> Iterator[dict[str, Any]]:
    for match, name in clauses(model.match):
        for since, prices in dated(model.prices):
            read, said = price(prices, "input_mtok"), price(prices, "output_mtok")
            if read is None or said is None:
                continue
            cached, written = price(prices, "cache_read_mtok"), price(prices, "cache_write_mtok")
            yield {
                "match": match,
                "model": name,
                "from": since,
                "input": str(read),
                "cached_input": str(read if cached is None else cached),
                "cache_write": str(read if written is None else written),
                "output": str(said),
            }


def clauses(clause: Any) -> Iterator[tuple[str, str]]:
    """The parts of a rule that match a whole name or a prefix. The other parts are for resellers, or exclude models
    that this script excludes too."""
    if hasattr(clause, "or_") or hasattr(clause, "and_"):
        for one in getattr(clause, "or_", None) or clause.and_:
            yield from clauses(one)
    elif hasattr(clause, "regex") and (snapshot := re.match(r"\^((?:[\w-]|\\\.)+-)\\d", clause.regex)):
        yield "prefix", snapshot[1].replace("\\.", ".")
    elif hasattr(clause, "starts_with"):
        yield "prefix", clause.starts_with
    elif hasattr(clause, "equals"):
        yield "exact", clause.equals


def dated(prices: Any) -> Iterator[tuple[str, Any]]:
    for one in cast("list[Any]", prices) if isinstance(prices, list) else [prices]:
        condition = getattr(one, "constraint", None)
        start = getattr(condition, "start_date", None)
        if condition is None or isinstance(start, date):
            yield start.isoformat() if isinstance(start, date) else ALWAYS, getattr(one, "prices", one)


def price(prices: Any, name: str) -> Decimal | None:
    found = getattr(prices, name, None)
    base = getattr(found, "base", found)
    return None if base is None else Decimal(str(base))


if __name__ == "__main__":
    main()
