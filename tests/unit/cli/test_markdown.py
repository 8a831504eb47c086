"""Markdown on a terminal: rendered whole, without control of the terminal, and in a bounded time."""

from __future__ import annotations

import io
import os

import pytest
from rich.console import Console

from responsa_server.cli.markdown import render
from responsa_server.cli.output import disarm
from responsa_server.cli.turns import print_answer


def text_of(markdown: str, width: int = 80) -> str | None:
    """The rendered text without its styles, or None if the Markdown is printed as it is."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    segments = render(markdown, console)
    return None if segments is None else "".join(segment.text for segment in segments)


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("# Head\n\nIt is *so* and `so`. [1]\nThen **this**. [2]", "Head\n\nIt is so and so. [1] Then this. [2]\n"),
        ("- one\n  wrapped\n- two\n\n3. three\n4. four", " • one wrapped\n • two\n\n 3 three\n 4 four\n"),
        ("> A quote\n> of two lines", "▌ A quote of two lines\n"),
        (
            "A [link](https://a.example/b) and <https://b.example>, [here](#there).",
            "A link (https://a.example/b) and https://b.example, here.\n",
        ),
        ("An ![image](http://a.example/x.png) and ![](y.png)", "An image (http://a.example/x.png) and (y.png)\n"),
        ("| a | b |\n|---|---|\n| 1 | 2 [1] |", " a  b\n ────────\n 1  2 [1]\n"),
        ("```sh\n" + "x" * 100 + "  y\n\tz\n```", "x" * 100 + "  y\n        z\n"),
        ("1. One:\n   ```\n   code\n   ```", " 1 One:\n   code\n"),
    ],
)  # fmt: skip
def test_rendering(markdown: str, text: str) -> None:
    assert text_of(markdown) == text


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        # Entities are decoded after the text was made safe.
        ("a&#27;[2Jb&#x9b;c&#x202e;d\x1b[2J", "a�[2Jb�c�d�[2J\n"),
        ("`\x1b]0;title\x07`\n\n    \x1b[2J", "�]0;title�\n\n�[2J\n"),
        ("[a](http://b.example/\x1b) [c](<http://d.example/\x1b&#x202e;>)", "[a](http://b.example/�) c (http://d.example/%1B%E2%80%AE)\n"),
        (
            "[x](javascript:alert) <b onclick=y>z</b> <kbd></kbd></kbd><!-- w -->",
            "[x](javascript:alert) <b onclick=y>z</b> <kbd></kbd></kbd><!-- w -->\n",
        ),
        ("<script>\nalert(1)\n</script>", "<script> alert(1) </script>\n"),
        ("[1]: http://a.example\n\nSo it is. [1]", "[1]: http://a.example\n\nSo it is. [1]\n"),
        ("[bold red]x[/] :smile:", "[bold red]x[/] :smile:\n"),
    ],
)  # fmt: skip
def test_nothing_is_hidden_and_nothing_controls_the_terminal(markdown: str, text: str) -> None:
    assert text_of(markdown) == text


@pytest.mark.parametrize(
    "markdown",
    [
        "> " * 10_000 + "deep",
        "- " * 10_000 + "deep",
        "\n".join("  " * level + "- deep" for level in range(150)),
        "# a\n" * 6_000,
        "|a" * 1_000 + "|\n" + "|-" * 1_000 + "|\n" + "|\n" * 9_000,
        "x" * 70_000,
        "~~~",
    ],
    ids=lambda text: text[:4].strip(),
)
def test_what_would_be_lost_or_take_long_is_printed_as_it_is(markdown: str) -> None:
    assert text_of(markdown) is None


@pytest.mark.parametrize("text", ["word" * 6_000, "[" * 24_000, "*a_" * 8_000])
def test_no_letter_is_lost(text: str) -> None:
    for width in (64, 500):
        assert "".join((text_of(text, width) or "").split()) == "".join(text.split())


def test_a_table_that_is_too_wide_is_printed_as_it_is() -> None:
    table = (
        "|"
        + "|".join(f"h{number}" for number in range(30))
        + "|\n"
        + "|-" * 30
        + "|\n|"
        + "|".join("c" * 30)
        + "|"
    )
    assert text_of(table) is None
    word = "| a | b |\n|---|---|\n| " + "y" * 200 + " | z |"
    assert (text_of(word) or "").count("y") == 200


def test_a_narrow_terminal_gets_the_markdown() -> None:
    assert text_of("- - a\n- b *c*", 30) == " •  • a\n • b c\n"
    assert text_of("- - a\n- b *c*", 20) is None


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"TERM": "xterm"}, "\x1b[1mso\x1b[0m � \x1b[36mcode\x1b[0m\r\n"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "\x1b[1mso\x1b[0m � code\r\n"),
        ({"TERM": "dumb"}, "**so** � `code`\r\n"),
        ({"TERM": ""}, "**so** � `code`\r\n"),
    ],
)
def test_which_terminal_gets_markdown_rendered(
    variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    screen, terminal = os.openpty()
    try:
        with os.fdopen(terminal, "w", encoding="utf-8") as stdout:
            monkeypatch.setattr("sys.stdout", stdout)
            print_answer("**so** \x1b `code`")
            written = b""
            while not written.endswith(b"\n"):  # a terminal may give one line in two pieces
                written += os.read(screen, 1024)
            assert written.decode() == said
            monkeypatch.undo()
    finally:
        os.close(screen)


def test_joiners_stay() -> None:
    assert disarm("می\u200cخواهم 👩\u200d🚀 a\u202eb\u2066c") == "می\u200cخواهم 👩\u200d🚀 a\ufffdb\ufffdc"
