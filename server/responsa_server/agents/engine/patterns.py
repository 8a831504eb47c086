"""The bounds of the regular expressions in a JSON Schema. Compiling one can take a thousand times its length in memory."""

from __future__ import annotations

from typing import Final, cast

MOST_CHARACTERS: Final = 1000
"""The maximum length of a regular expression."""
MOST_PATTERNS: Final = 100
"""The maximum number of regular expressions in a schema."""


def find_excess(schema: object) -> str:
    """What is wrong with the regular expressions of a schema, with what to do, as a part of a sentence; "" if they are within the bounds."""
    left, patterns = [schema], list[str]()
    while left:
        one = left.pop()
        if isinstance(one, dict):
            table = cast("dict[str, object]", one)
            named, pattern = table.get("patternProperties"), table.get("pattern")
            patterns += cast("dict[str, object]", named) if isinstance(named, dict) else ()
            patterns += (pattern,) if isinstance(pattern, str) else ()
            left += table.values()
        elif isinstance(one, list):
            left += cast("list[object]", one)
    if len(patterns) > MOST_PATTERNS:
        return f"has more than {MOST_PATTERNS} regular expressions; use fewer"
    if any(len(one) > MOST_CHARACTERS for one in patterns):
        return f"has a regular expression with more than {MOST_CHARACTERS:,} characters; shorten it"
    return ""
