"""The page puts every act of administrators into words."""

from __future__ import annotations

import re

from responsa_server.calls.interceptors.audited import ACTIONS, READS
from tests.instance import ROOT


def test_the_page_has_a_sentence_for_every_act_of_administrators() -> None:
    text = (ROOT / "clients" / "web" / "src" / "administration" / "sentences.ts").read_text(encoding="utf-8")
    known = set(re.findall(r'^  "([a-z_]+\.[a-z_]+)": \{ label:', text, re.MULTILINE))
    assert known >= {action for action, _ in (*ACTIONS.values(), *READS.values())}
