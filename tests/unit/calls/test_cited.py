"""What protocols that know no messages of the contract tell of citations."""

from __future__ import annotations

from google.protobuf.json_format import ParseDict

from responsa.chat.v1.citation_pb2 import Citation
from responsa_server.calls.convert.cited import citations

TEXT = "Sïx hübs. At night."


def test_a_citation_tells_how_its_quote_came_about_and_what_differs() -> None:
    difference = {
        "kind": "DIFFERENCE_KIND_QUANTITY",
        "answerRange": {"end": 4},
        "sourceRange": {"start": 17, "end": 22},
    }
    fields = {
        "answerRange": {"end": 11},
        "sourceRange": {"start": 10, "end": 30},
        "quote": "It has Fünf hubs.",
        "quoteOrigin": "QUOTE_ORIGIN_COPIED",
        "verdict": "JUDGE_VERDICT_SUPPORTED",
        "differences": [difference, {**difference, "sourceRange": {"start": 40, "end": 44}}],
    }
    denied = {**fields, "verdict": "JUDGE_VERDICT_DENIED"}
    # What a model that judges has denied is no source.
    (found,) = citations(TEXT, [ParseDict(one, Citation()) for one in (fields, denied)])
    assert (found["start"], found["end"]) == (0, 9)
    assert (found["quote_origin"], found["verdict"]) == ("copied", "supported")
    # The words of the source are told as far as the quote has them.
    quantity = {"kind": "quantity", "start": 0, "end": 3}
    assert found["differences"] == [{**quantity, "source": "Fünf"}, {**quantity, "source": ""}]
