"""MDX: Markdown with components. What is not Markdown is no text: imports and exports, the tags of components, expressions and comments.

The text between the tags of components stays. HTML, code and front matter are as in Markdown.
"""

from __future__ import annotations

import re
from typing import Final

from responsa_formats.text.front_matter import front_matter

_FENCE: Final = re.compile(r"[ \t]*(`{3,}|~{3,})")
_MODULE: Final = re.compile(r"(?:import|export)\b(?! *[,.;:!?)])")
_BRACES: Final = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]{0,500}\}){0,500}\}){0,1000}\}"
_VALUE: Final = rf"(?:\"[^\"]{{0,1000}}\"|'[^']{{0,1000}}'|{_BRACES})"
# Code, an escaped brace, a tag of a component, a text in braces, an expression.
_PARTS: Final = re.compile(
    rf"(?P<kept>(?<!`)(`{{1,9}})(?!`)[^`]{{1,1000}}(?<!`)\2(?!`)|\\[{{<])"
    rf"|</?(?:[A-Z][\w.]{{0,80}}(?:\s{{1,200}}(?:[\w:.\-]{{1,80}}(?:={_VALUE})?|{_BRACES})){{0,50}})?\s{{0,200}}/?>"
    r"|\{\s{0,9}(?:\"(?P<double>[^\"{}]{0,1000})\"|'(?P<single>[^'{}]{0,1000})'|`(?P<back>[^`{}$]{0,1000})`)\s{0,9}\}"
    rf"|{_BRACES}"
)


def markdown_of(text: str) -> str:
    """The Markdown of an MDX document."""
    start, _ = front_matter(text)
    parts = [text[:start]]
    prose: list[str] = []
    fence = ""
    module = False
    blank = True
    for line in re.split(r"(?<=\n)", text[start:]):
        match = _FENCE.match(line)
        if fence or match:
            parts.append(_PARTS.sub(_keep, "".join(prose)))
            prose.clear()
            parts.append(line)
            if not fence and match:
                fence = match.group(1)
            elif match and match.group(1).startswith(fence):
                fence = ""
            continue
        # A module's statement begins a block, and goes on to the next empty line.
        module = bool(line.strip()) and (module or (blank and _MODULE.match(line) is not None))
        blank = not line.strip()
        if not module:
            prose.append(line)
    return "".join([*parts, _PARTS.sub(_keep, "".join(prose))])


def _keep(match: re.Match[str]) -> str:
    return next((text for text in match.group("kept", "double", "single", "back") if text is not None), "")
