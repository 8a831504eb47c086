"""What a reader sees of the state of a form in HTML: ticks, values and choices.

Hidden fields, passwords, buttons and placeholders have no state that a reader of the page sees. A box that only a style
sheet draws is known for Confluence and Notion.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from selectolax.lexbor import LexborNode

from responsa_formats.parsers.html_content import steps
from responsa_formats.text.symbols import TICKED, UNTICKED

CONTROLS: Final = frozenset({"input", "select", "textarea"})
"""The elements of which `entry` is all that a reader sees."""
_TICKS: Final = frozenset({"checkbox", "radio"})
_WITHOUT_VALUE: Final = frozenset(
    {"hidden", "password", "submit", "button", "reset", "image", "file", "color"}
)
_TICKED_ROLES: Final = frozenset({"checkbox", "radio", "switch", "menuitemcheckbox", "menuitemradio"})
# No box takes more steps to walk over it.
_BOX_STEPS: Final = 40


def entry(tag: str, control: LexborNode) -> str | None:
    """What is entered in one of CONTROLS, such as "☑", a value or the options that are chosen; None if nothing can be,
    or nobody sees it."""
    attributes = control.attributes
    if tag == "textarea":
        return control.text().strip()
    if tag == "select":
        return ", ".join(_choose(control, several="multiple" in attributes))
    kind = (attributes.get("type") or "").strip().lower()
    if kind in _TICKS:
        return _box("checked" in attributes)
    return None if kind in _WITHOUT_VALUE else attributes.get("value") or ""


def box(tag: str, node: LexborNode) -> str:
    """The box to tick that an element is, or a list item begins with; '' if it has none, or has it as an `input`."""
    attributes = node.attributes
    if not attributes and tag != "li":
        return ""
    if "aria-checked" in attributes and (attributes.get("role") or "").strip().lower() in _TICKED_ROLES:
        within = islice(steps(node, lambda _: True), _BOX_STEPS)
        has_input = any(child.tag == "input" for child, _ in within)
        return "" if has_input else _box((attributes["aria-checked"] or "").strip().lower() == "true")
    names = (attributes.get("class") or "").split()
    if "checkbox-on" in names or "checkbox-off" in names:
        return _box("checkbox-on" in names)
    above = node.parent if tag == "li" else None
    listed = (above.attributes.get("class") or "").split() if above is not None else ()
    return _box("checked" in names) if "inline-task-list" in listed else ""


def _box(ticked: bool) -> str:
    return TICKED if ticked else UNTICKED


def _choose(select: LexborNode, *, several: bool) -> Iterator[str]:
    """The options that are chosen. If none is, a browser shows the first one of a list from which one is chosen; one
    without a value asks the reader to choose."""
    options = [opt for opt, entering in steps(select, lambda _: True) if entering and opt.tag == "option"]
    chosen = [opt for opt in options if "selected" in opt.attributes]
    if not several:
        usable = (opt for opt in options if "disabled" not in opt.attributes)
        chosen = chosen[-1:] or [*islice(usable, 1)]
    for opt in chosen:
        label = opt.attributes.get("label") or opt.text()
        if opt.attributes.get("value") != "" and (shown := " ".join(label.split())):
            yield shown
