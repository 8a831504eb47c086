"""Small documents for the tests; no other document covers their subjects."""

from __future__ import annotations

LIGHTHOUSE = """# The lighthouse of Korsholm

The lighthouse of Korsholm was built in 1871 by the engineer Axel Hampus Dalström. Its light reaches 17 nautical miles.

## Keepers

The last keeper of the Korsholm lighthouse was Märta Öhman, who stayed until 1962 and kept a diary of the weather – every day, even at −31 °C.
Since then a lamp that needs no keeper has burned there.
"""
WHO_BUILT = "Who built the lighthouse of Korsholm?"
LAST_KEEPER = "Who was the last keeper of the Korsholm lighthouse?"

BAKERY = """# Brunmåla bakery

The Brunmåla bakery opens at five in the morning. Its rye bread rests for nineteen hours before it is baked.
"""
RYE_BREAD = "How long does the rye bread of the Brunmåla bakery rest?"

UNANSWERABLE = "Which football club won the championship of Patagonia in 1998?"

# Every piece of this text would have an effect if the page treated it as markup.
HOSTILE = """# Notes on <img src=x onerror=alert(1)>

The Vexholm ferry <script>globalThis.pwned = true</script> costs 12 crowns, <img src="https://tracker.invalid/p.png" onerror="globalThis.pwned = true"> and
the [Vexholm timetable](javascript:globalThis.pwned=true) hangs at the <b>pier</b> &amp; in the café.
"""
HOSTILE_TITLE = "<script>globalThis.pwned = true</script><img src=x onerror='globalThis.pwned = true'>"
FERRY_PRICE = "What does the Vexholm ferry cost?"
