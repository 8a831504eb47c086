"""Filling in prompts during the check, with the filters of the template engine and with sample values for variables."""

from __future__ import annotations

from responsa_server.agents.config.check.prompts import SAMPLES, check_filling
from responsa_server.agents.engine.prompts import (
    PROMPT_FILTERS,
    PROMPT_TESTS,
    FrontMatter,
    Partial,
    PromptSet,
    PromptSource,
)
from responsa_server.agents.nodes.table import KINDS

TEXTS = {
    *("agent", "question", "persona", "language", "formats", "today", "without_retrieval", "without_model"),
    *("teacher", "history", "summary", "parameters", "problem", "no_answer"),
    *("instructions", "greeting"),
}


def prompts(body: str, **partials: str) -> PromptSet:
    parts = {f"parts/{name}.md": Partial(f"prompts/parts/{name}.md", text) for name, text in partials.items()}
    source = PromptSource("prompts/write.md", FrontMatter.model_validate({}), body)
    return PromptSet({"write": source}, parts)


def problems_of(body: str, **partials: str) -> list[str]:
    return [str(one) for one in check_filling(prompts(body, **partials), "write", ("Which?",))]


def unknown(body: str, **partials: str) -> list[tuple[str, int, str]]:
    return [
        (unknown_word.file, unknown_word.line, unknown_word.message)
        for unknown_word in prompts(body, **partials).unknown_words("write")
    ]


def test_what_is_suggested_is_there() -> None:
    assert unknown("".join(f"{{{{ question | {word} }}}}" for word in PROMPT_FILTERS)) == []
    assert unknown("".join(f"{{% if question is {word} %}}x{{% endif %}}" for word in PROMPT_TESTS)) == []


def test_every_variable_that_a_kind_offers_has_a_value_to_try() -> None:
    offered = frozenset[str]().union(*(kind.offers.all for kind in KINDS.values()))
    assert offered == TEXTS | set(SAMPLES)


def test_words_are_looked_for_in_tags_alone() -> None:
    body = 'It is | fine, a|b. {# {{ question | gone }} #}{% raw %}{{ question | gone }}{% endraw %}{{ "a | gone" }}'
    assert unknown(f"{body}{{{{ question | upper }}}}") == []
    uses = unknown(
        "{{ question | uper }}x{{ question | replace }}\n{% if question is not evn and '}}' | "
        "lwer %}\n{{ 'It\\'s' | uper | trm }}{% endif %}"
        "{% include 'parts/tone.md' %}",
        tone="\n{{ question | gone }}",
    )
    assert uses == [
        ("prompts/write.md", 1, "templates have no filter “uper”"),
        (
            "prompts/write.md",
            1,
            "templates have no filter “replace” here; they have default, first, join, last, length, lower, upper",
        ),
        ("prompts/write.md", 2, "templates have no test “evn”"),
        ("prompts/write.md", 2, "templates have no filter “lwer”"),
        ("prompts/write.md", 3, "templates have no filter “trm”"),
        ("prompts/parts/tone.md", 2, "templates have no filter “gone”"),
    ]


def test_lists_are_gone_through_and_their_items_have_what_they_have() -> None:
    loop = "{% for one in examples %}{{ one.text }}: {{ one.label }}{% endfor %}"
    assert problems_of(loop) == []
    (wrong,) = problems_of(loop.replace("label", "lable"))
    assert wrong == "prompts/write.md:1: the template cannot be filled in: “one.lable” is undefined."


def test_what_breaks_in_a_partial_is_told_there() -> None:
    (wrong,) = problems_of("Hello.\n{% include 'parts/tone.md' %}", tone="\n{{ question[3].x }}")
    assert wrong.startswith("prompts/parts/tone.md:2: the template cannot be filled in")


def test_partials_that_include_each_other_twice_over_are_no_circle() -> None:
    both = "{% include 'parts/a.md' %}{% include 'parts/b.md' %}"
    found = prompts(both, a="{% include 'parts/b.md' %}", b="b")
    assert found.broken == {}
    assert found.fill("write", {}) == "bb"
    alone = prompts("{% include 'parts/a.md' %}", a="{% include 'parts/a.md' %}")
    assert "parts/a.md includes itself" in alone.broken["write"][0].message
