"""HTML from an answer's Markdown: it runs no script, loads no resource and has no misleading link."""

from __future__ import annotations

import asyncio
import re
import threading
from html.parser import HTMLParser
from typing import Any

import nh3
import pytest

from responsa_server.transports.ws.html import ATTRIBUTES, TAGS, Rendering, of_markdown, of_plain

HOSTILE = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    "<img src='https://evil.example/seen.gif'>",
    "![seen](https://evil.example/seen.gif)",
    '![a" onerror="alert(1)](https://evil.example/seen.gif "t")',
    "![<script>alert(1)</script>](x)",
    "[![seen](https://evil.example/seen.gif)](https://evil.example)",
    "[click](javascript:alert(1))",
    "[click](JaVaScRiPt:alert(1))",
    "[click](java\tscript:alert(1))",
    "[click](javascript&colon;alert(1))",
    "[click](&#106;avascript:alert(1))",
    "[click](data:text/html;base64,PHNjcmlwdD4=)",
    "[click](vbscript:msgbox(1))",
    "[click](file:///etc/passwd)",
    "[click](\u0001javascript:alert(1))",
    "<javascript:alert(1)>",
    '[a](https://example.org "x\\" onmouseover=\\"alert(1)")',
    "[a](https://example.org' onclick='alert(1))",
    "[a]: javascript:alert(1)\n\n[a]",
    "<a href='javascript:alert(1)'>x</a>",
    "<iframe src='https://evil.example'></iframe>",
    "<style>*{background:url(https://evil.example)}</style>",
    "<svg onload=alert(1)><circle/></svg>",
    "<math><mi xlink:href='javascript:alert(1)'>x</mi></math>",
    "<form action='https://evil.example'><input name=p></form>",
    "<base href='https://evil.example/'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<object data='x.swf'></object><embed src='x.swf'>",
    "<!--<img src=x onerror=alert(1)>-->",
    "<p style='position:fixed' class='x' id='y'>x</p>",
    "```html\n<script>alert(1)</script>\n```",
    '```"><script>alert(1)</script>\nx\n```',
    "`<script>alert(1)</script>`",
    "| a |\n|---|\n| <img src=x onerror=alert(1)> |",
    "# <svg/onload=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><script>alert(1)</script></template>",
    "[x](//evil.example/a)",
    "[x](/v1/users/me)",
    "[x](?token=1)",
    "[x](http:/v1/users/me)",
    "[x](#top)",
]


class Seen(HTMLParser):
    """The tags and attributes that a browser would see in a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_is_left(text: str) -> None:
    for seen in (Seen(of_markdown(text)), Seen(of_markdown(f"> * {text}")), Seen(of_plain(text))):
        for tag, attributes in seen.tags:
            assert tag in TAGS
            assert set(attributes) <= ATTRIBUTES.get(tag, set[str]()) | {"rel"}
            if "href" in attributes:
                assert re.match(r"(https?|mailto):", attributes["href"] or ""), attributes
                assert attributes["rel"] == "noopener noreferrer"


def test_all_that_an_answer_may_have() -> None:
    text = (
        "# One\n\n## Two\n\nA *b* **c** `d` [e](https://example.org/?a=1&b=2 \"f\") <mailto:a@example.org>\nnext  \nbroken\n\n"
        "> quote\n\n* x\n* y\n\n3. z\n\n---\n\n```python\nif a < b:\n    pass\n```\n\n| h | i |\n|---|:-:|\n| 1 | 2 |\n"
    )  # fmt: skip
    html = of_markdown(text)
    assert {tag for tag, _ in Seen(html).tags} == {
        "h1", "h2", "p", "em", "strong", "code", "a", "br", "blockquote", "ul", "ol", "li", "hr", "pre",
        "table", "thead", "tbody", "tr", "th", "td",
    }  # fmt: skip
    assert '<a href="https://example.org/?a=1&amp;b=2" title="f" rel="noopener noreferrer">e</a>' in html
    assert '<ol start="3">' in html
    assert "if a &lt; b:\n    pass\n" in html


def test_an_images_text_stays_in_its_place() -> None:
    assert of_markdown('See ![a *map* of "X" <b>](https://evil.example/m.png).') == (
        '<p>See a map of "X" &lt;b&gt;.</p>\n'
    )


def test_plain_text_is_shown_as_it_is() -> None:
    assert of_plain("*a* <b> & “c”") == "<p>*a* &lt;b&gt; &amp; “c”</p>"
    assert of_plain("") == ""


WORST = [
    *("> " * 12_000, "[" * 24_000, "*a " * 8_000, "`" * 24_000, "* " * 12_000, "![" * 12_000, "<" * 24_000, "&" * 24_000),
    "|a" * 12_000 + "\n" + "|-" * 12_000,
    # The parser adds cells to these rows: it makes each row as wide as the header, whatever the text contains.
    "|a" * 128 + "\n" + "|-" * 128 + "\n|" * 256,
    "|a" * 128 + "\r" + "|-" * 128 + "\rx" * 256,
    ("|a" * 16 + "\n" + "|-" * 16 + "\n|" * 64 + "\n\n") * 120,
    "> " + "|a" * 128 + "\n> " + "|-" * 128 + "\n> |" * 256,
    "a|\n-|\n>\n" * 3_000,
    # A long address to which many links refer.
    f"[a]: https://e.example/{'x' * 12_000}\n\n" + "[a]" * 4_000,
]  # fmt: skip


@pytest.mark.parametrize("text", WORST)
def test_the_longest_answers_of_the_worst_kind_stay_in_proportion(text: str) -> None:
    assert len(of_markdown(text)) < 24 * len(text)


def test_tables_may_leave_cells_out() -> None:
    row = "<tr>\n<td>1</td>\n<td></td>\n<td></td>\n</tr>\n"
    assert of_markdown("|a|b|c|\n|-|-|-|\n" + "|1|\n" * 20).count(row) == 20


async def test_recent_html_is_kept_and_made_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    clean = nh3.clean

    def counted(text: str, **options: Any) -> str:
        threads.append(threading.get_ident())
        return clean(text, **options)

    monkeypatch.setattr(nh3, "clean", counted)
    rendering = Rendering()
    text = "*made once*"
    # A follower that leaves does not affect the others.
    first = asyncio.create_task(rendering.of_markdown(text))
    await asyncio.sleep(0)
    first.cancel()
    both = await asyncio.gather(rendering.of_markdown(text), rendering.of_markdown(text))
    assert both == ["<p><em>made once</em></p>\n"] * 2
    assert len(threads) == 1
    # Even a short text is rendered outside the event loop.
    assert threading.get_ident() not in threads
    threads.clear()
    assert await rendering.of_markdown(text) == "<p><em>made once</em></p>\n"
    assert not threads
    for number in range(100):
        await rendering.of_markdown(str(number))
    await rendering.of_markdown(text)
    assert len(threads) == 101
