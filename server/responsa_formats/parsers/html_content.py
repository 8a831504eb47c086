"""Finds the content of a page, without navigation, page headers and footers, menus next to the text, and consent notices.

Only elements that say what they are count: by their tag, their ARIA landmark (WAI-ARIA 1.2), or their id or class.
Pages sometimes use these names wrongly. Therefore an element with much text outside links stays. An element that only
its id or class calls a menu stays unless most of its text is links. If little is left of a page, the whole page stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from selectolax.lexbor import LexborNode

UNSEEN: Final = frozenset(
    [
        *("head", "script", "style", "template", "noscript", "iframe", "object", "embed", "applet"),
        *("audio", "video", "canvas", "svg", "select", "option", "datalist", "textarea", "input"),
        *("noframes", "noembed", "frameset", "map", "meta", "link", "title", "base"),
    ]
)
_HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|opacity\s*:\s*0(?:\.0+)?\s*(?:;|!|\Z)"
    r"|font-size\s*:\s*0(?:\.0+)?(?:px|pt|em|rem|%)?\s*(?:;|!|\Z)",
    re.IGNORECASE,
)


def is_shown(node: LexborNode) -> bool:
    """Whether a browser shows an element. Text and comments do not count as elements. A browser shows an element only
    if it also shows its parents."""
    tag = node.tag or ""
    if tag.startswith("-") or tag in UNSEEN or is_hidden(node):
        return False
    return tag != "dialog" or "open" in node.attributes


_SIGN: Final = re.compile(
    r"(?:^|[\s_-])(?:icons?|fa|katex|mathjax|anchor|headerlink)(?:$|[\s_-])", re.IGNORECASE
)
_GUTTER: Final = re.compile(
    r"(?:^|[\s_-])(?:gutter|linenos?|linenodiv|line-?numbers?|lineno|blob-num|ln-numbers)(?:$|[\s_-])",
    re.IGNORECASE,
)
# A browser shows no text of these. Confluence shows no parameter of a macro but its title.
_PARAMETERS: Final = frozenset({"ac:parameter", "ac:task-id", "ac:task-status", "ac:placeholder"})


def is_aside(node: LexborNode, tag: str) -> bool:
    """Whether an element is shown but says nothing: an icon's name, the drawing of a formula that is read as MathML, the
    mark of a heading's own link, the numbers of lines of code, or a parameter of a macro."""
    attributes = node.attributes
    if tag in _PARAMETERS:
        return attributes.get("ac:name") not in ("title", "key")
    if not attributes:
        return False
    names = attributes.get("class") or ""
    if (attributes.get("aria-hidden") or "").lower() == "true" and (tag in ("a", "i") or _SIGN.search(names)):
        return True
    return bool(names and _GUTTER.search(names)) and _counts(node)


def _counts(node: LexborNode) -> bool:
    """Whether numbers are all that an element says."""
    words = node.text(separator=" ").split()
    return all(word.isdecimal() for word in words)


def is_hidden(node: LexborNode) -> bool:
    """Whether an element says that it is not shown."""
    attributes = node.attributes
    if not attributes:
        return False
    if "hidden" in attributes and attributes["hidden"] != "until-found":
        return True
    return bool(_HIDING.search(attributes.get("style") or ""))


def steps(top: LexborNode, descend: Callable[[LexborNode], bool]) -> Iterator[tuple[LexborNode, bool]]:
    """Walk the tree depth first, without recursion. Yields (node, True) when it enters a node and (node, False) when it leaves the node."""
    above: list[LexborNode] = []
    node = top
    while True:
        yield node, True
        child = node.first_child if descend(node) else None
        if child is not None:
            above.append(node)
            node = child
            continue
        yield node, False
        following: LexborNode | None = None
        while above:
            following = node.next
            if following is not None:
                break
            node = above.pop()
            yield node, False
        if following is None:
            return
        node = following


OWN_CHARS: Final = 600
"""An element with more text outside links than this many characters is content, whatever it says it is."""
LEAST_CHARS: Final = 100
"""If less content than this is found in a page, all of the page is content."""
_MAIN_SHARE: Final = 0.5
"""The page's main elements, or else its articles, are its content if they hold at least this share of the text that is left."""

_CONSENT: Final = re.compile(
    r"consent|gdpr|cookie[\s_-]*(?:banner|bar|law|message|notice|policy|popup|preferences|settings|wall)",
    re.IGNORECASE,
)
_COOKIE_NOTICE: Final = re.compile(
    r"cookie[\s_-]*(?:banner|bar|consent|law|message|notice|popup|wall)", re.IGNORECASE
)
_LINKS: Final = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|navigation|menu|breadcrumbs?|sidebar|footer)(?:$|[\s_-])", re.IGNORECASE
)
_CONSENT_ROLES: Final = frozenset({"dialog", "alertdialog", "alert", "region"})


class _Landmark(Enum):
    MENU = auto()
    LINKS = auto()
    CONSENT = auto()
    HEADER = auto()
    FOOTER = auto()
    ASIDE = auto()
    ARTICLE = auto()
    MAIN = auto()


_OF_ROLE: Final = {
    "navigation": _Landmark.MENU,
    "menu": _Landmark.MENU,
    "menubar": _Landmark.MENU,
    "toolbar": _Landmark.MENU,
    "search": _Landmark.MENU,
    "banner": _Landmark.HEADER,
    "contentinfo": _Landmark.FOOTER,
    "complementary": _Landmark.ASIDE,
    "main": _Landmark.MAIN,
    "article": _Landmark.ARTICLE,
}
_OF_TAG: Final = {
    "nav": _Landmark.MENU,
    "search": _Landmark.MENU,
    "aside": _Landmark.ASIDE,
    "main": _Landmark.MAIN,
    "article": _Landmark.ARTICLE,
}
# Within one of these, they do not belong to the page (HTML Standard, "the header element").
_OF_TAG_OF_PAGE: Final = {"header": _Landmark.HEADER, "footer": _Landmark.FOOTER}
_PLAIN: Final = frozenset({"div", "ul", "ol"})
_SECTIONS: Final = frozenset({"article", "main", "section"})
_HOLDS: Final = {_Landmark.MAIN: (_Landmark.ARTICLE,), _Landmark.ARTICLE: (), _Landmark.HEADER: ()}
"""The roles that can hold content, with the roles within them that still count."""


@dataclass(frozen=True, slots=True)
class MainContent:
    """tops: the elements that hold the content of a page, in order. left_out: the ids of the elements below them that
    do not belong to it. around: how many parts of the page with text are left out."""

    tops: Sequence[LexborNode]
    left_out: Set[int]
    around: int


@dataclass(slots=True)
class _PagePart:
    """An element with a role, or the page. own, linked: the characters of its content outside and within links. titles:
    its number of h1 elements. before: the number of parts found before it.
    """

    node: LexborNode
    role: _Landmark | None
    own: int = 0
    linked: int = 0
    titles: int = 0
    before: int = 0

    @property
    def chars(self) -> int:
        return self.own + self.linked


def content_of(top: LexborNode) -> MainContent:
    """Find the content of a page. top: its body."""
    page, parts, left_out, around = _parts(top)
    whole = MainContent([top], frozenset(), 0)
    if page.chars < LEAST_CHARS:
        return whole
    for role in (_Landmark.MAIN, _Landmark.ARTICLE):
        matching = [part for part in parts if part.role is role]
        chars = sum(part.chars for part in matching)
        if chars >= max(LEAST_CHARS, page.chars * _MAIN_SHARE):
            # A header that is left holds the page's title.
            chosen = [part.node for part in parts if part.role in (role, _Landmark.HEADER)]
            others = page.chars > sum(part.chars for part in parts if part.role in (role, _Landmark.HEADER))
            return MainContent(chosen, left_out, around + others)
    return MainContent([top], left_out, around)


def _parts(top: LexborNode) -> tuple[_PagePart, Sequence[_PagePart], Set[int], int]:
    """The page, its outermost headers, main elements and articles that are content, in order, the ids of the elements
    that are not, and how many of these have text."""
    titles = len(top.css("h1"))
    page = _PagePart(top, None)
    opened = [page]
    parts: list[_PagePart] = []
    left_out: set[int] = set()
    shown: list[bool] = []
    sections = links = without = 0
    for node, entering in steps(top, lambda _: shown[-1]):
        tag = node.tag or ""
        if entering:
            shown.append(tag == "-document" or is_shown(node))
            if tag == "-text" and links:
                opened[-1].linked += len(node.text().strip())
            elif tag == "-text":
                opened[-1].own += len(node.text().strip())
            elif shown[-1] and (role := _role(node, tag, within_section=sections > 0)) is not None:
                opened.append(_PagePart(node, role, before=len(parts)))
        visible = shown[-1] if entering else shown.pop()
        if visible:
            links += (1 if entering else -1) * (tag == "a")
            sections += (1 if entering else -1) * (tag in _SECTIONS)
            opened[-1].titles += entering and tag == "h1"
        if not entering and len(opened) > 1 and opened[-1].node.mem_id == node.mem_id:
            part = opened.pop()
            if not _is_content(part, titles):
                left_out.add(node.mem_id)
                without += part.chars > 0
                continue
            around = opened[-1]
            around.own, around.linked = around.own + part.own, around.linked + part.linked
            around.titles += part.titles
            if part.role in _HOLDS:
                parts[part.before :] = [sub for sub in parts[part.before :] if sub.role in _HOLDS[part.role]]
                parts.append(part)
    return page, parts, left_out, without


def _role(node: LexborNode, tag: str, *, within_section: bool) -> _Landmark | None:
    attributes = node.attributes
    role = (attributes.get("role") or "").strip().lower()
    if not within_section:
        if role in _CONSENT_ROLES or tag in ("aside", "dialog"):
            names = " ".join(attributes.get(name) or "" for name in ("id", "class", "aria-label"))
            if _CONSENT.search(names):
                return _Landmark.CONSENT
        if not role and tag in _OF_TAG_OF_PAGE:
            return _OF_TAG_OF_PAGE[tag]
        if not role and tag in _PLAIN:
            names = " ".join(attributes.get(name) or "" for name in ("id", "class"))
            if _COOKIE_NOTICE.search(names):
                return _Landmark.CONSENT
            if _LINKS.search(names):
                return _Landmark.LINKS
    return _OF_ROLE.get(role) if role else _OF_TAG.get(tag)


def _is_content(part: _PagePart, titles: int) -> bool:
    """titles: the number of h1 elements of the page."""
    match part.role:
        case _Landmark.MAIN | _Landmark.ARTICLE:
            return True
        case _Landmark.HEADER if titles and part.titles == titles:
            return True
        case _Landmark.ASIDE | _Landmark.LINKS if part.linked < part.own:
            return True
        case _:
            return part.own > OWN_CHARS
