"""What stands around the content of a page is left out, and no page loses its content."""

from __future__ import annotations

import pytest

from responsa_formats.parsers import html
from responsa_formats.parsers.html import parse
from responsa_formats.parsers.html_content import LEAST_CHARS, OWN_CHARS
from responsa_formats.parsers.sniff import sniff
from responsa_formats.rejections import Cause
from tests.formats.originals import original_of, rejected

TEXT = "The ferry leaves the pier at noon and returns at dusk. It takes bicycles, dogs and one horse a day."
LONG = f"<p>{' '.join([TEXT] * (OWN_CHARS // len(TEXT) + 1))}</p>"
LINKS = "".join(f"<li><a href='/{number}'>Page {number}</a></li>" for number in range(30))
COOKIES = "We use cookies to improve your visit. <button>Accept</button>"

HANDBOOK = f"""<html lang=en><head><title>Fares - Ferry</title></head><body>
<a href="#content">Skip</a>
<header role=banner><a href="/"><img alt=Ferry></a><nav aria-label=Main><ul>{LINKS}</ul></nav>
<form role=search><label>Search the site</label><input></form></header>
<div class=columns><aside class=sidebar><h2>Contents</h2><ul>{LINKS}</ul></aside>
<main id=content><nav class=breadcrumbs><a href="/">Home</a> &gt; Fares</nav>
<article><header><h1>Fares</h1><p>By Ann</p></header><p>{TEXT}</p>
<aside class=note><p>Children travel free.</p></aside><footer>Changed in May.</footer></article></main></div>
<footer><p>Ferry Company, Pier 1</p><ul>{LINKS}</ul></footer>
<div role=dialog aria-label="Cookie consent">{COOKIES}</div></body></html>"""

BLOG = f"""<body><header><nav><ul>{LINKS}</ul></nav><h1>One summer on the ferry</h1><p>12 May</p></header>
<div class=post><p>{TEXT}</p><p>{TEXT}</p></div><aside role=complementary><ul>{LINKS}</ul></aside>
<section role=region id=cookie-banner>{COOKIES}</section><footer>All rights reserved. <a href=/i>Imprint</a></footer>"""

OLD = f"<body><table><tr><td><ul>{LINKS}</ul></td><td><h1>Fares</h1><p>{TEXT}</p></td></tr></table>"


def text_of(page: str) -> str:
    return parse(original_of(page, "HTML", "page.html")).canonical_text


def test_a_handbook_page_is_its_main_element() -> None:
    assert text_of(HANDBOOK).split("\n\n") == [
        "Fares",
        "By Ann",
        TEXT,
        "Children travel free.",
        "Changed in May.",
    ]


def test_a_page_without_main_loses_its_landmarks_and_keeps_its_title() -> None:
    assert text_of(BLOG).split("\n\n") == ["One summer on the ferry", "12 May", TEXT, TEXT]


def test_a_page_without_landmarks_stays_whole() -> None:
    said = text_of(OLD)
    assert "Page 29" in said
    assert TEXT in said


def test_articles_are_the_content_of_a_page_without_main() -> None:
    page = f"<body><h2>Teasers</h2><div>{TEXT}</div><article>{LONG}<article>Reply.</article></article><article><h1>Two</h1>{LONG}</article>"
    said = text_of(page)
    assert "Teasers" not in said
    assert said.count("Reply.") == 1
    assert "Two" in said


@pytest.mark.parametrize(
    "page",
    [
        f"<nav>{LONG}</nav>",
        f"<footer>{LONG}</footer>",
        f"<header>{LONG}</header>",
        f"<aside>{LONG}</aside>",
        f"<div role=navigation>{LONG}</div><p>Home</p>",
        f"<div role=dialog id=cookie-consent>{LONG}</div>",
        f"<header><main>{LONG}</main></header>",
        f"<main>Loading</main><div>{LONG}</div>",
        f"<article>Teaser</article><div>{LONG}</div>",
        f"<nav><main>{LONG}</main></nav>",
    ],
)
def test_content_in_such_an_element_stays(page: str) -> None:
    assert text_of(f"<body>{page}</body>").count("ferry leaves") == LONG.count("ferry leaves")


@pytest.mark.parametrize(
    "page",
    [f"<nav><ul>{LINKS}</ul></nav>", f"<nav><ul>{LINKS}</ul></nav><main>Moved.</main><footer>Foot</footer>"],
)
def test_a_page_with_little_else_stays_whole(page: str) -> None:
    assert len("Moved.") < LEAST_CHARS
    assert text_of(f"<body>{page}</body>").count("Page ") == LINKS.count("Page ")


def test_recipes_with_cookies_stay() -> None:
    page = f"<body><section role=region class=cookie-recipes><p>{TEXT}</p></section><aside id=cookies>Bake them for an hour.</aside>"
    assert text_of(page).split("\n\n") == [TEXT, "Bake them for an hour."]


@pytest.mark.parametrize(
    "part",
    [
        f"<div id=menu><ul>{LINKS}</ul></div>",
        f"<div class='navbar top'>{LINKS}</div>",
        f"<ul class=breadcrumb>{LINKS}</ul>",
        f"<div class=sidebar>More: {LINKS}</div>",
        "<div class=cookie-banner>We use cookies. Accept</div>",
    ],
)
def test_what_an_id_or_a_class_says_counts_if_the_text_agrees(part: str) -> None:
    assert text_of(f"<body>{part}<div><p>{TEXT}</p><p>{TEXT}</p></div></body>") == f"{TEXT}\n\n{TEXT}"
    assert "Menu of the day: soup" in text_of(
        f"<body><div class=menu>Menu of the day: soup, <a href=/x>bread</a></div><div><p>{TEXT}</p><p>{TEXT}</p></div></body>"
    )


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (
            "<title>Redirecting</title><meta http-equiv=Refresh content=\"0; url='https://example.org/new'\">"
            "<h1>Redirecting</h1><a href=x>Go on.</a>",
            "only leads to another one: https://example.org/new",
        ),
        ("<script>window.location.replace('/new/')</script>", "only leads to another one: /new/"),
        (
            "<script type=module src=a.js></script><noscript>Turn on scripts.</noscript><div id=root></div>",
            "filled by scripts",
        ),
        ("<app-root>Loading…</app-root><script src=main.js></script>", "filled by scripts"),
    ],
)
def test_a_page_that_stands_for_another_or_waits_for_scripts_is_refused(page: str, says: str) -> None:
    with rejected(Cause.TYPE_UNSUPPORTED, match=says):
        html.parse(sniff(f"<!doctype html><html><body>{page}</body></html>".encode(), "a.html"))


@pytest.mark.parametrize(
    "page",
    [
        "<h1>Gate</h1><p>Open from 9 to 5.</p><script src=count.js></script>",
        "<meta http-equiv=refresh content=300><p>Open from 9 to 5.</p>",
    ],
)
def test_a_short_page_is_a_page(page: str) -> None:
    assert "Open from 9 to 5." in html.parse(sniff(page.encode(), "a.html")).canonical_text
