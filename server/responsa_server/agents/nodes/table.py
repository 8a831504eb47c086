"""The table of kinds of nodes. A new kind needs one file in this folder and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.nodes import (
    checking,
    choosing,
    deciding,
    output,
    passages,
    prompt,
    refuse,
    searching,
    sections,
    summariser,
    teacher,
    tool_calls,
)
from responsa_server.system.plugins import Group, load_rows

_OWN: Final[Mapping[str, NodeKind]] = {
    "intent_router": deciding.INTENT_ROUTER,
    "question_categoriser": deciding.QUESTION_CATEGORISER,
    "retrieval_need": deciding.RETRIEVAL_NEED,
    "teacher": teacher.KIND,
    "summariser": summariser.KIND,
    "rewriter": searching.REWRITER,
    "query_expander": searching.QUERY_EXPANDER,
    "retriever": searching.RETRIEVER,
    "ranker": searching.RANKER,
    "passages": passages.KIND,
    "section_answer": sections.SECTION_ANSWER,
    "raw_sections": sections.RAW_SECTIONS,
    "prompt": prompt.PROMPT,
    "template": output.KIND,
    "output": output.OUTPUT,
    "code_checker": checking.CODE_CHECKER,
    "citation_checker": checking.KIND,
    "tool_chooser": choosing.TOOL_CHOOSER,
    "tool_requester": tool_calls.TOOL_REQUESTER,
    "tool_caller": tool_calls.TOOL_CALLER,
    "failure_reporter": tool_calls.FAILURE_REPORTER,
    "refuse": refuse.KIND,
}
KINDS: Final[Mapping[str, NodeKind]] = {**_OWN, **load_rows(Group.NODES, NodeKind, _OWN)}
