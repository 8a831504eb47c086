"""The accessibility rules that a program can check."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page

from tests.instance import ROOT

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


NARROW: dict[str, Any] = {
    "color_scheme": "dark",
    "viewport": {"width": 360, "height": 700},
    "has_touch": True,
}
"""A phone with dark colours."""


# Words as people read them: a line may end at a hyphen.
BROKEN_WORDS = """() => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const broken = [];
    while (texts.nextNode()) {
        if (!texts.currentNode.parentElement.checkVisibility()) continue;
        for (const { index, 0: word } of texts.currentNode.data.matchAll(/[\\p{L}\\p{N}]{2,24}/gu)) {
            const range = document.createRange();
            range.setStart(texts.currentNode, index);
            range.setEnd(texts.currentNode, index + word.length);
            if (new Set([...range.getClientRects()].map((one) => Math.round(one.top))).size > 1) broken.push(word);
        }
    }
    return broken;
}"""


async def broken_words(page: Page) -> list[str]:
    """The words of at most 24 letters that the page shows on two lines."""
    return await page.evaluate(BROKEN_WORDS)


async def flaws(page: Page) -> list[str]:
    """The violations that the rules of axe-core (Deque) find, including contrast."""
    return await _run(page, RULES)


async def flaws_in_all_colours(page: Page) -> list[str]:
    """The violations in dark colours, and of the contrast in light ones. The page stays dark."""
    dark = await _run(page, RULES)
    await page.emulate_media(color_scheme="light", reduced_motion="reduce")
    light = await _run(page, {"type": "rule", "values": ["color-contrast"]})
    await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    return dark + light


async def _run(page: Page, rules: object) -> list[str]:
    if not await page.evaluate("'axe' in globalThis"):
        await page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = await page.evaluate(
        "(rules) => axe.run(document, { runOnly: rules, resultTypes: ['violations'] })", rules
    )
    return [
        f"{one['id']}: {node['html']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
