"""Small documents for the tests; no other document covers their subjects."""

from __future__ import annotations

LIGHTHOUSE = """# The lighthouse of Korsholm

The lighthouse of Korsholm was built in 1871 by the engineer Axel Hampus Dalström. Its light reaches 17 nautical miles.

## Keepers

The last keeper of the Korsholm lighthouse was Märta Öhman, who stayed until 1962 and kept a diary of the weather – \
every day, even at −31 °C.
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

The Vexholm ferry <script>globalThis.pwned = true</script> costs 12 crowns, <img src="https://tracker.invalid/p.png" \
onerror="globalThis.pwned = true"> and
the [Vexholm timetable](javascript:globalThis.pwned=true) hangs at the <b>pier</b> &amp; in the café.
"""
HOSTILE_TITLE = "<script>globalThis.pwned = true</script><img src=x onerror='globalThis.pwned = true'>"
FERRY_PRICE = "What does the Vexholm ferry cost?"

SENSOR = """---
title: Sensor manual
---

# Sensor manual

## How long does the battery last?

The battery of the sensor lasts **three years** at one reading per *ten minutes*. See [the power page](power.md).

| mode | battery |
|--------|--------:|
| normal | 3 years |
| fast | 4 months |

## Install

Install the sensor with this command:

```sh
sensorctl install --mode normal /dev/ttyUSB0
```

1. Screw the plate to the wall.
2. Hang the sensor on the plate.
"""
BATTERY = "How long does the battery of the sensor last?"
INSTALL = "How do I install the sensor with a command?"

# Each kind of markup that an answer may have.
MARKDOWN = """## What changed

The **battery** lasts *three years*. See `sensorctl status` and [the maker](https://maker.example/power).

- Hang the sensor on the plate:
  1. the arrow points up
  2. the lamp blinks twice
- שלום עולם

| mode | battery |
|------|--------:|
| normal | 3 years |

```sh
sensorctl install --mode normal /dev/ttyUSB0
```
"""

WIDE_COLUMNS = 40
# Markdown that would run code, load something, turn letters around or take a long time if the page rendered all of it.
ATTACK = f"""<script>globalThis.pwned = true</script><style>* {{ display: none }}</style> <img src=x onerror="globalThis.pwned = true">

[run](javascript:globalThis.pwned=true) [data](data:text/html,<script>1</script>) \
![track](https://tracker.invalid/p.png) ![](//tracker.invalid/q.png)

Pay to \u202egro.live\u202c now.

|{"a|" * 1000}
|{"-|" * 1000}
|1|

|{"b|" * WIDE_COLUMNS}
|{"-|" * WIDE_COLUMNS}

{">" * 9000} deep
"""
