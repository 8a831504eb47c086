"""The table of kinds of nodes. A new kind is one file in this folder and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.nodes import (
    citation_checker,
    condition,
    extractive_answer,
    grader,
    intent_router,
    output,
    post_processor,
    prompt,
    query_expander,
    question_categoriser,
    refuse,
    retrieval_need,
    retriever,
    rewriter,
    summariser,
    teacher,
    template,
    tool_caller,
)

KINDS: Final[Mapping[str, NodeKind]] = {
    "intent_router": intent_router.KIND,
    "question_categoriser": question_categoriser.KIND,
    "retrieval_need": retrieval_need.KIND,
    "teacher": teacher.KIND,
    "summariser": summariser.KIND,
    "condition": condition.KIND,
    "rewriter": rewriter.KIND,
    "query_expander": query_expander.KIND,
    "retriever": retriever.KIND,
    "grader": grader.KIND,
    "extractive_answer": extractive_answer.KIND,
    "prompt": prompt.KIND,
    "template": template.KIND,
    "post_processor": post_processor.KIND,
    "output": output.KIND,
    "citation_checker": citation_checker.KIND,
    "tool_caller": tool_caller.KIND,
    "refuse": refuse.KIND,
}
