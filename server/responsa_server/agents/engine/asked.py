"""Whether a message asks for something, or only mentions it. English, by rules, and pure."""

from __future__ import annotations

import re
from typing import Final

_QUESTION: Final = re.compile(
    r"""[?？؟]|(?:^|[.,;:!])\W{0,4}(?:(?:please|and|so|hi|hello|hey|ok|now)\b\W{1,4}){0,3}
    (?:what|whats|how|hows|where|wheres|when|who|whos|whom|whose|which|wich|why|until|is|are|was|were|does|do|did|can|could|may|must|should|will|has|have
    |tell|explain|show|give|find|look|search|google|check|summari[sz]e|list|describe|compare|recommend|according|any)\b(?!['’]t\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_POLITE: Final = r"^\W{0,4}(?:(?:please|pls|now|and|so|ok|okay|hi|hey|hello|can you|could you|would you|will you)\b\W{1,4}){0,3}"
_TASK: Final = re.compile(
    rf"""{_POLITE}(?:(?:translate|rephrase|reword|paraphrase|rewrite|proofread|shorten
    |(?:fix|correct|check|improve)\ (?:the\ |my\ |this\ |its\ ){{0,2}}(?:grammar|spelling|punctuation|wording|sentence|typos?)
    |how\ (?:do|does|would|can|could)\ (?:you|i|one|we)\ (?:say|spell|pronounce))\b
    |(?:turn|make|put|change)\ (?:this|that|it|the\ following)\b[^:]{{0,60}}:
    |what(?:['’]s|\ is|\ does)\ (?:["“„«‘][^"“”„«»]{{1,100}}["”“»’]|the\ \w{{1,20}}\ (?:word|term)\ for)\ )""",
    re.IGNORECASE | re.VERBOSE,
)
_ABILITY: Final = re.compile(
    r"""\b(?:can|could|would|will|are|do)\ you\b[^?.!]{0,80}\bif\ (?:i|we|somebody|someone)\ (?:ask|asked|ever|give|gave|want|wanted|tell|told|send|sent|need|needed)\b
    |\b(?:do|would|can|could)\ you\ (?:ever\ )?(?:use|choose|pick|decide)\b
    |\bare\ you\ able\ to\b[^?\d]*\??\s*$""",
    re.IGNORECASE | re.VERBOSE,
)
_LED: Final = r"^\W{0,4}(?:(?:ah|oh|aha|ok|okay|well|so|and|but|yes|no|yeah|thanks|thank you|sorry|hi|hello|hey|great|good|then|today|yesterday|actually|by the way|just)\b\W{0,4}){0,4}"
_SAID: Final = re.compile(
    rf"""{_LED}(?:
    (?:i|we|they|he|she|it|there|nobody|everybody|everyone|somebody|someone|saw|went|got|came|took|had|been|bought|found)(?:['’](?:m|ve|re|s|d|ll))?\b
    |(?:(?!(?:what|which|who|whose|when|where|why|how)\b)[\w'’./:-]{{1,30}}[\s,]{{1,3}}){{1,7}}?(?:am|is|are|was|were|has|have|had|can|could|may|might|will|would|should|must|looks?|seems?|feels?|sounds?|made|kept|came|went|took|turned|left|got|said)\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_OF_ONESELF: Final = re.compile(rf"{_LED}(?:i|we)(?:['’]\w+)?\s", re.IGNORECASE)
_NOTED: Final = re.compile(
    r"^\W{0,4}(?:ah|aha|oh|right|good|great|fine|perfect|i see|got it|so)\b", re.IGNORECASE
)
# A wish, or a complaint about something that has not happened, is a request.
_WISHED: Final = re.compile(
    r"""\b(?:need|want|wants|wish\ to|would\ like|like\ to\ know|wonder|wondering|looking\ for|waiting|whether|let\ me\ know|see\ if|please|pls
    |still|yet|late|missing|lost|overdue|(?:has|have|is|was)(?:n['’]?t|\ not|\ never))\b|['’]d\ like\b""",
    re.IGNORECASE | re.VERBOSE,
)


_ON_THE_WEB: Final = re.compile(
    rf"{_POLITE}(?:google\b|(?:search|look|check|find|browse)\b[^?.!]{{0,40}}?\b(?:web|internet|net|online)\b)",
    re.IGNORECASE,
)


def wishes(text: str) -> bool:
    """Whether a text names a wish, or complains about something that has not happened."""
    return _WISHED.search(text) is not None


def names_the_web(text: str) -> bool:
    """Whether a message begins with the request to search the web."""
    return _ON_THE_WEB.search(text) is not None


def asks(text: str) -> bool:
    """Whether a text has a question, or begins like a request."""
    return _QUESTION.search(text) is not None


def is_about_words(text: str) -> bool:
    """Whether a message asks for work on words ("Translate: …"), or asks what the assistant would do. Such a message does not ask for the other things that it
    mentions.
    """
    return _TASK.search(text) is not None or _ABILITY.search(text) is not None


def only_tells(text: str) -> bool:
    """Whether a text that does not ask is a statement ("I have just placed an order"), and not a request in few words ("the weather in Leeds")."""
    return not wishes(text) and (_SAID.search(text) or _NOTED.search(text)) is not None


def tells_of_oneself(text: str) -> bool:
    """Whether a text is a statement about its author ("I have just bought one and I like it")."""
    return not (asks(text) or wishes(text)) and _OF_ONESELF.search(text) is not None
