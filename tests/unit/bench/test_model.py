from __future__ import annotations

from bench.peers.model import TOKENS, tokens


def test_the_model_quotes_the_first_passage_and_marks_each_sentence() -> None:
    text = " ".join(f"word{number}" for number in range(200))
    said = tokens(f"[1]\nhead › line\n\n{text}\n\n[2] another")
    assert len(said) == TOKENS
    *sentences, rest = "".join(said).split("[1]. ")
    assert (len(sentences), rest) == (4, "")
    assert "".join(sentences).strip() in text
    assert len(tokens("no passage")) == TOKENS
