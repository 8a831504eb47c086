"""What kind of small talk a message is. English, with the greetings of some other languages, by rules, and pure.

Only the replies of templates depend on the kind. Whether a message is small talk at all, the nodes that decide say.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

_MOST_CHARACTERS: Final = 500
"""How much of a message is read. Small talk is short."""


class SmallTalk(StrEnum):
    """GREETING: also a polite question, such as "How are you?". ABOUT: a question about the agent. OTHER: everything else, such as a joke, feelings or a text without sense."""

    GREETING = "greeting"
    THANKS = "thanks"
    FAREWELL = "farewell"
    ABOUT = "about"
    OTHER = "other"


_YOU: Final = r"(?:you|u|ya)"
_ABOUT: Final = re.compile(
    rf"""\b(?:who|what)(?:\s+(?:exactly|kind\ of\ \w+|sort\ of\ \w+))?\s+(?:are|r)\s+{_YOU}\b(?!\s+(?:up|doing|guys))
    |\b(?:who|what)(?:['’]s|\s+is)\s+this\s*\??\s*$
    |\byour\s+(?:name|job|purpose|role|skills?|abilities)\b|\bcalled\b[^?]*\?
    |\b(?:are|r)\s+{_YOU}\s+(?:really\s+|just\s+|actually\s+)?(?:an?\b|human|real|alive|ai\b|chatgpt|gpt)
    |\bwhat\b[^.!?]*\b(?:can|could|do)\s+{_YOU}\s+(?:\w+\s+)?(?:do|help|know|offer|answer)\b
    |\bwhat\b[^.!?]*\b(?:can|could|may|should)\s+(?:i|we)\s+ask\b
    |\bhow\s+(?:can|could|do)\s+{_YOU}\s+(?:help|work|function)\b
    |\bwhat\b[^.!?]*\b{_YOU}(?:['’]?re|\s+are)\s+(?:good|able|made|here)\b
    |^\W*(?:please\s+)?help\b|\b(?:need|can\s+you|could\s+you)\s+(?:\w+\s+){{0,2}}help\b
    |\b(?:about|introduce)\s+yourself\b
    |\bwho\s+(?:\w+\s+)?(?:made|built|created|wrote|trained|designed|programmed|developed|owns|runs)\s+{_YOU}\b
    |\bhow\s+old\s+are\s+{_YOU}\b|\bwhere\s+(?:are|do|did)\s+{_YOU}\s+(?:come\s+)?from\b""",
    re.IGNORECASE | re.VERBOSE,
)
_THANKS: Final = re.compile(
    r"\b(?:thanks|thank\s+(?:you|u)|thx|thanx|ty|tysm|cheers|appreciate[ds]?|grateful|danke|merci|gracias|grazie|obrigad[oa])\b",
    re.IGNORECASE,
)
_FAREWELL: Final = re.compile(
    r"\b(?:bye|goodbye|good\s*night|farewell|ciao|(?<!to\ )see\s+(?:you|u|ya)|c\s*ya|cya|take\s+care|talk\s+(?:to\s+you\s+)?(?:later|soon)|until\s+next\s+time"
    r"|have\s+a\s+(?:\w+\s+)?(?:day|evening|night|weekend|week|one)|signing\s+off|tsch[uü]ss|au\s+revoir|adi[oó]s)\b",
    re.IGNORECASE,
)
_GREETING: Final = re.compile(
    r"\b(?:hi|hiya|hello|hey|heya|howdy|yo|greetings|welcome|good\s+(?:morning|afternoon|evening|day)|morning|evening|hallo|guten\s+(?:tag|morgen|abend)|bonjour|bonsoir|salut"
    r"|hola|buen[oa]s\s+\w+|buongiorno|how\s+(?:are|r)\s+(?:you|u|ya|things)|how(?:['’]s|\s+is|s)\s+(?:it|your|everything|life)|how\s+(?:do\s+you\s+do|have\s+you\s+been)"
    r"|how\s+was\s+your|how\s+you\s+doin\w*|what(?:['’]?s|\s+is)\s+(?:up|new)|sup|whats\s+(?:up|new)|(?:nice|pleased|glad|good|great)\s+to\s+(?:meet|see)|long\s+time\s+no\s+see)\b",
    re.IGNORECASE,
)


def small_talk_of(text: str) -> SmallTalk:
    """The kind of a message that is small talk. A question about the agent counts more than the greeting before it."""
    for kind, pattern in (
        (SmallTalk.ABOUT, _ABOUT),
        (SmallTalk.THANKS, _THANKS),
        (SmallTalk.FAREWELL, _FAREWELL),
        (SmallTalk.GREETING, _GREETING),
    ):
        if pattern.search(text, 0, _MOST_CHARACTERS):
            return kind
    return SmallTalk.OTHER
