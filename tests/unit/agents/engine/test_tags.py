"""The bounds of templates, which keep minijinja's parser within the stack of its process."""

from __future__ import annotations

import random

import minijinja
import pytest

from responsa_server.agents.engine.prompts import FrontMatter, PromptSet, PromptSource
from responsa_server.agents.engine.tags import find_excess, tags

HARMLESS = (
    "|---|---|\n" * 1000,
    "{# " + "-" * 5000 + " #}",
    "{% raw %}{{ " + "-" * 5000 + " }}{% endraw %}",
    "{{ '" + "-" * 900 + "' }}",
    "{{ '\\'" + "}}" * 100 + "' }}",
    "{{ a }}" * 5000,
    "{% if a %}{{ a|upper }}{% elif b %}{% endif %}" * 200,
    "{% set a = 1 %}" * 200,
    "{% set a %}x{% endset %}" * 200,
    "{{ [" + ",".join("1" * 400) + "] }}",
    "{{ {'a': {'b': 1}} }}" * 100,
)
EXCESSIVE = {
    "minus": "{{ " + "-" * 30_000 + "1 }}",
    "minus_of_a_tag": "{{ " + "-" * 101 + "1 }}",
    "behind_other_tags": "{{ a }}" * 100 + "\n{% if " + "-" * 101 + "1 %}{% endif %}",
    "not": "{{ " + "not " * 101 + "1 }}",
    "plus": "{{ 1" + "+1" * 101 + " }}",
    "filters": "{{ a" + "|a" * 101 + " }}",
    "attributes": "{{ a" + ".a" * 101 + " }}",
    "subscripts": "{{ a" + "[0]" * 101 + " }}",
    "calls": "{{ a" + "()" * 101 + " }}",
    "conditions": "{{ 1" + " if 1" * 101 + " }}",
    "characters": "{{ a" + " " * 1000 + " }}",
    "unclosed": "{{ '" + "a" * 1000,
    "brackets": "{{ " + "[" * 101 + "]" * 101 + " }}",
    "ends_in_brackets": "{{ {'a': {'b': 1}} " + "-" * 101 + "1 }}",
    "ends_in_texts": "{{ '}}' " + "-" * 101 + "1 }}",
    "openings_in_texts": "{{ " + "'{{' ~ " * 101 + "1 }}",
    "elifs": "{% if a %}" + "{% elif a %}" * 51 + "{% endif %}",
    "elifs_of_two": "{% if a %}"
    + "{% elif a %}" * 26
    + "{% if a %}"
    + "{% elif a %}" * 25
    + "{% endif %}{% endif %}",
    "behind_raw": "{% raw %}{% endraw %}{{ " + "-" * 101 + "1 }}",
    "behind_a_comment": "{#-#}{{ " + "-" * 101 + "1 }}",
}


@pytest.mark.parametrize("text", HARMLESS, ids=range(len(HARMLESS)))
def test_ordinary_texts_are_within_the_bounds(text: str) -> None:
    assert find_excess(text) is None
    minijinja.Environment().add_template("a", text)


@pytest.mark.parametrize("name", EXCESSIVE)
def test_what_would_make_the_parser_call_itself_too_often_is_refused(name: str) -> None:
    text = EXCESSIVE[name]
    found = find_excess(text)
    assert found is not None
    prompts = PromptSet({"a": PromptSource("a.md", FrontMatter.model_validate({}), text)})
    [error] = prompts.broken["a"]
    assert error.line == text.count("\n", 0, found[0]) + 1
    assert error.message == found[1]


def test_tags_are_those_that_minijinja_finds() -> None:
    pieces = [
        *(
            "{{",
            "}}",
            "{%",
            "%}",
            "{#",
            "#}",
            "-",
            "+",
            '"',
            "'",
            "\\",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            " ",
            "\n",
        ),
        *("a", "if ", "endif", "raw", "endraw", "set x=", "for a in b", "endfor", "else", "elif ", "|upper"),
        *(
            ".b",
            "~",
            "%",
            "#",
            ",",
            ":",
            "1",
            "{% raw %}",
            "{% endraw %}",
            '{{ "',
            "{{ (",
            ") }}",
            "} }}",
            "\x0b",
        ),
    ]
    draw, engine, read = random.Random(52), minijinja.Environment(), 0
    for _ in range(5000):
        text = "".join(
            draw.choice((f" v{number}v ", f"{{{{ v{number}v }}}}", *draw.choices(pieces, k=4)))
            for number in range(draw.randint(1, 14))
        )
        try:
            engine.add_template("a", text)
        except minijinja.TemplateError:
            continue
        code = "".join(tag.code for tag in tags(text))
        names = engine.undeclared_variables_in_template("a")
        assert all(name in code for name in names), text
        read += bool(names)
    assert read > 500
