"""`responsa eval citations`: the pairs in evals/citations, and the figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from responsa_lab.evaluation.citations import OURS, Pair, eval_citations
from responsa_lab.evaluation.dataset import lines
from responsa_lab.evaluation.reading import digest, sources

QUOTE = "The lamp runs for 48 hours"


def pair(true: str, false: str, quote: str = QUOTE) -> dict[str, str]:
    return {
        "source": "shop", "document": "lamp.md", "language": "en", "kind": "number", "quote": quote,
        "true": true, "false": false,
    }  # fmt: skip


def test_it_counts_what_differs_in_each_half(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "lamp.md").write_text(f"# Lamp\n\n{QUOTE}.\n")
    folder = tmp_path / "set"
    folder.mkdir()
    _, sha256 = digest(tmp_path / "shop")
    (folder / "sources.toml").write_text(
        f'[shop]\norigin = "ours"\ncommit = "1"\npaths = "*.md"\nlicence = "none"\ndocuments = 1\nsha256 = "{sha256}"\n'
    )
    pairs = [
        pair("The lamp runs for two days.", "The lamp runs for three days."),
        pair("The lamp runs for long.", "The lamp has run for 48 hours.", "It runs for very long"),
        pair("The lamp runs for 47 hours.", "The lamp can run for 48 hours."),
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in pairs))
    eval_citations(tmp_path, folder, json=True)
    assert json.loads(capsys.readouterr().out) == {
        "odd": {kind: {"pairs": 2, "falseShown": 0.5, "trueShown": 0.5} for kind in ("number", "all")},
        "even": {kind: {"pairs": 1, "falseShown": 0.0, "trueShown": 0.0} for kind in ("number", "all")},
    }
    eval_citations(tmp_path, folder)
    said = capsys.readouterr().out
    assert f"no difference though false: The lamp can run for 48 hours. | {QUOTE}" in said
    assert "quote not found: It runs for very long" in said
    assert "quantity: 47 hours though true: The lamp runs for 47 hours." in said


def test_our_pairs_name_known_sources_and_quote_little() -> None:
    pairs = [one for _, one in lines(OURS / "pairs.jsonl", Pair, "pair")]
    assert len(pairs) == 200
    assert {one.source for one in pairs} == sources(OURS).keys()
    assert all(4 <= len(one.quote.split()) <= 25 for one in pairs)
