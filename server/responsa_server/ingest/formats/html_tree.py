"""Walks over the tree of an HTML document, and what of it a browser shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from selectolax.lexbor import LexborNode

_SKIPPED = frozenset(
    [
        "head",
        "script",
        "style",
        "template",
        "noscript",
        "iframe",
        "object",
        "embed",
        "applet",
        "audio",
        "video",
        "canvas",
        "svg",
        "select",
        "option",
        "datalist",
        "textarea",
        "input",
        "noframes",
        "noembed",
        "frameset",
        "map",
        "meta",
        "link",
        "title",
        "base",
    ]
)
_HIDING = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|opacity\s*:\s*0(?:\.0+)?\s*(?:;|!|\Z)"
    r"|font-size\s*:\s*0(?:\.0+)?(?:px|pt|em|rem|%)?\s*(?:;|!|\Z)",
    re.IGNORECASE,
)


def is_shown(node: LexborNode) -> bool:
    """Whether a browser shows an element. Text and comments do not count as elements. A browser shows an element only if it also shows its parents."""
    tag = node.tag or ""
    if tag.startswith("-") or tag in _SKIPPED or _hidden(node):
        return False
    return tag != "dialog" or "open" in node.attributes


def _hidden(node: LexborNode) -> bool:
    attributes = node.attributes
    if not attributes:
        return False
    if "hidden" in attributes and attributes["hidden"] != "until-found":
        return True
    if (attributes.get("aria-hidden") or "").lower() == "true":
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
