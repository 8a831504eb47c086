"""Whether a question is about another person than its author. Rules over English words and over the words of the author's own record. Pure."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from typing import Final

from responsa_server.text.names import WORD, without_s

_NEAR: Final = (
    r"colleague|co-?worker|classmate|team ?mate|room ?mate|flat ?mate|friend|neighbou?r|spouse|wife|husband"
    r"|(?:step)?(?:brother|sister|mother|father|son|daughter)|mum|mom|dad|cousin|uncle|aunt"
)
_KNOWN: Final = "teacher|parent|professor|child|girlfriend|boyfriend|grandfather|grandmother"
_ABOVE: Final = "boss|manager|partner|rival|competitor"
_RELATION: Final = f"(?:{_NEAR}|{_KNOWN}|{_ABOVE})s?"
_PEOPLE: Final = re.compile(
    rf"\b(?:my|our|your|a|an|the|that|this) (?:\w+ )?(?:{_NEAR})s?\b(?! (?:tongue|language)\b)"
    rf"|\b(?:my|our) (?:\w+ )?(?:{_KNOWN})s?\b(?! (?:job|match|recommendation|result|score))"
    rf"|\b(?:my|our) (?:\w+ )?(?:{_ABOVE})(?:e?s)?\b"
    r"|\b(?:every(?:body|one)|(?:some|any)(?:body|one) else|(?:some|any)(?:body|one)['’]s)\b"
    r"|\b(?:all|other|another|any|every|each|these|those|two|both) (?:of )?(?:the )?(?:other )?"
    r"(?:users?|persons?|people|candidates?|students?|subjects?|employees?|members?|participants?|records)\b"
    r"|\b(?:than|compared (?:to|with)) others\b|\bothers['’]|\bother people|\bthe others\b|\bthe other\b(?! (?:tests?|jobs?|ones?|results?|scores?|points?|sittings?|times?|scales?|traits?|majors?|degrees?|skills?|abilit(?:y|ies)|recommendations?|parts?|half|side)\b)|\bwho else\b|\bnamesakes?\b"
    r"|\b(?:next|previous|other) (?:person|user|record|profile|candidate)\b|\b(?:same|my) (?:sur|last )?name\b",
    re.IGNORECASE,
)
_WHO: Final = re.compile(
    r"\bwho(?:se|m)?\b(?! (?:am i|i am|should i|can i|could i|do i)\b)|\bwhich (?:person|user|candidate|student|employee)s?\b|\blist (?:of )?(?:all )?(?:people|users|names)\b",
    re.IGNORECASE,
)
_NO_PERSON: Final = re.compile(
    r"\bwho(?:m|se)? (?:is|are|does|do|would|should) (?:the |a |an |that |this |such )?(?:\w+ )?(?:degree|major|job|course|subject|study|studies|profession|work|career|training)\b"
    r"(?=(?: (?:in|of|for) (?:[\w-]+ ){1,5}?)? ?(?:for|right|suited|meant|good|like|suit|fit|best (?:for|suited))\b|\s*(?:[.?!]|$))"
    r"|\b(?:for (?:somebody|someone|a person|those)|people|guess|anyone|anybody|someone|somebody) who\b|\b(?:that|this|it|they) (?:the |a |an )?(?:guys?|persons?|ones?|man|woman|people) who\b|\bwho(?:m)? (?:is|are|was) (?:it|that|this|they) (?:\w+ )?for\b"
    r"|\bcompared? (?:me )?(?:with|to|against) whom?\b|\bwith whom? (?:am i|i am|are we|they|you|do you|do they) (?:\w+ ){0,2}compar\w+"
    r"|\b(?:sort|kind|type) of \w+ (?:who|that)\b|\b(?:am i|i am|i['’]?m) (?:an? |the |some(?:one|body) )(?:\w+ ){0,3}who\b"
    r"|\b(?:with|around|among|to|help(?:ing)?|trust(?:ing)?|before|in front of) other people\b",
    re.IGNORECASE,
)
"""Questions on whom a job or a major suits, but not “who is my job coach”, and on how one gets on with people."""
_REMARK: Final = re.compile(
    rf"(?<!do )(?<!does )(?<!did )\b(?:(?:my|our|your|the) (?:\w+ )?(?:{_RELATION}|\w+)|they|he|she|people|everybody|everyone) (?:always |often |keeps? )?(?:says?|said|saying|thinks?|calls?|called|tells?|told|laughs?|shouts?|complains?)\b",
    re.IGNORECASE,
)
"""What others say about the author."""
_COMPARED: Final = re.compile(
    r"(?<!they )\bcompar(?!ed (?:with|to) who)|\bbeats?\b|\b(?:versus|vs)\b|\bother people['’]s?\b"
    rf"|\bthan (?:me|mine|i|he|she|him|hers?|his|they|them|theirs?|(?:most |all |many )?(?:others?|people|every\w+|any\w+)|(?:my|our|your|the|a|an|any|most|all) (?:\w+ )?{_RELATION})\b",
    re.IGNORECASE,
)
_THIRD: Final = re.compile(r"\b(?:he|she|his|hers?|him|himself|herself)\b", re.IGNORECASE)
_ASKED_FOR: Final = re.compile(
    rf"\b(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|about|compare) (?:(?:my|our|your|the|a|an|that|this) (?:\w+ )?{_RELATION}|he|she)\b"
    rf"|\b(?:my|our|your) (?:\w+ )?{_RELATION}['’]s? (?:\w+ )?(?:record|profile|result|score|test|point|job|match|recommendation|trait|memory|openness|personality|career)s?\b"
    r"|^\W*who(?:se|m)? (?!am i|should i|can i|could i|is (?:that|it|this)\b)|\b(?:who|any(?:one|body)|every(?:one|body)) (?:else )?(?:in|of|from|at) my\b|(?:^|[.?!,;] )who (?:has|had|have|got|scored|else)\b",
    re.IGNORECASE,
)
"""A question for somebody else, as opposed to a remark about somebody."""
_OWNED: Final = re.compile(
    rf"\b(?:my|our|your) (?:\w+ )?{_RELATION}['’]s? (?:\w+ )?(?:record|profile|result|score|test|point|match|recommendation|list)s?\b",
    re.IGNORECASE,
)
_SELF: Final = re.compile(
    r"\b(?:i|im|i['’]m|ive|myself|mine)\b(?! (?:wonder|guess|think|mean)\b)|\bmy (?!(?:\w+ )?"
    + _RELATION
    + r"\b)|(?<!tell )(?<!show )(?<!give )\bme\b",
    re.IGNORECASE,
)
_SENTENCES: Final = re.compile(r"(?<=[.?!])\s+")
_REQUEST: Final = re.compile(
    r"\W*(?:\w+ )?(?:tell|give|show|list|name|compare|describe|explain|say|read|find|print|quote|use|send|pretend|ignore|answer)\b",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(
    r"[\w.+-]\s?(?:@|\(at\)|\[at\])\s?[\w-]|\w at [\w-]+ dot [a-z]{2,}\b|\b[a-z]+\.[a-z]+(?:\.\d+)?(?=['’]|\W*$)",
    re.IGNORECASE,
)
_NUMBERED: Final = re.compile(
    r"\b(?:person|user|employee|student|candidate|participant|member|people|subject|record|profile|id|account|document|personality_profile|thinking_skills|career_recommendations)"
    r"(?:\s*(?:#|no\.?|nr\.?|number|id|with|the|is|=|:|/)){0,6}\s*#?\d+\b|\busers/|#\d+\b|\b[a-z_]+/\d+(?:\.md)?\b",
    re.IGNORECASE,
)
_UUID: Final = re.compile(
    r"\b[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\b", re.IGNORECASE
)
_POSSESSIVE: Final = re.compile(r"([^\W\d_]+(?:[-’'][^\W\d_]+)*?)['’]s\b")
_NO_NAME: Final = (
    "i i'm i’m i'd i’d i've i’ve i'll i’ll iq ok english german french spanish italian monday tuesday wednesday thursday friday saturday sunday january february march april may "
    "june july august september october november december christmas easter big five pdf cv mr mrs ms dr"
)
_NO_NAMES: Final = frozenset(_NO_NAME.split())
_NOBODY: Final = (
    "what that it there here who how where when let one today tomorrow yesterday this he she job work career test major year month week world everybody else life"
    " company employer university college school profile record document catalogue result score answer person"
)
_NOBODYS: Final = frozenset(_NOBODY.split())
_ARTICLES: Final = frozenset({"a", "an", "my", "your", "become", "becoming"})
_NAMED: Final = re.compile(
    r"\b(?:of|about|for|from|on|with|by|to|as|than|like|is|are|am|does|did|has|can|called|named|user|and|or)$",
    re.IGNORECASE,
)
"""What stands before a name of somebody whom the question is about."""
_SENTENCE_ENDS: Final = frozenset(".!?:;\n\"“”'‘(—–-*")


def about_another(question: str, known: AbstractSet[str], *, about_things: bool = False) -> bool:
    """Whether the question is about a person who is not its author, or asks who somebody is.

    about_things: whether the question is about jobs, majors and the like. In such a question, “who” and words for people mean the people with these jobs or
    majors. known: the words of the author's record and of the reference documents, without distinction of case. A name counts as somebody else's if a part of
    the name is not among these words. In doubt, a capitalised word is a name. The time is proportional to the length of the question, because a search in a text holds the interpreter's lock.
    """
    if any(one.search(question) for one in (_ADDRESS, _NUMBERED, _UUID)):
        return True
    if about_things:
        return _OWNED.search(question) is not None or _names_somebody(question, known)
    asked = question
    if not _COMPARED.search(question):
        # “Everybody in my team is faster. What's my score?” asks about its author.
        left = _asking(question)
        asked = _NO_PERSON.sub(" ", _REMARK.sub(" ", left if _SELF.search(left) else question))
    if _ASKED_FOR.search(asked):
        return True
    # “My wife says that I am stubborn” asks about its author.
    mentioned = any(one.search(asked) for one in (_PEOPLE, _WHO, _THIRD))
    if mentioned and (_COMPARED.search(asked) or not _SELF.search(asked)):
        return True
    for one in WORD.finditer(question):
        possessive = _POSSESSIVE.match(one.group())
        word = "" if possessive is None else possessive.group(1).casefold()
        # “Every guest's name” is a remark, if the question is about its author.
        if (
            word
            and word not in known
            and word not in _NOBODYS
            and (
                not _SELF.search(question)
                or (one.group()[0].isupper() and _has(question[one.end() :], known))
            )
        ):
            return True
    return _names_somebody(question, known)


def _asking(question: str) -> str:
    """The last sentence, and those before it that ask or request something."""
    *before, last = _SENTENCES.split(question.strip())
    return " ".join([*(one for one in before if one.endswith("?") or _REQUEST.match(one)), last])


def _has(after: str, known: AbstractSet[str]) -> bool:
    """Whether what follows a name in the possessive may be in a record: “Anna's openness”, but not “Rubik's cube”."""
    thing = WORD.search(after)
    return (
        thing is None
        or thing.group().casefold() in known
        or re.match(_RELATION, thing.group(), re.IGNORECASE) is not None
    )


def _names_somebody(question: str, known: AbstractSet[str]) -> bool:
    words = list(WORD.finditer(question))
    strange = [_strange(one.group(), known) for one in words]
    aside = _SELF.search(question) is not None and not _COMPARED.search(question)
    for place, one in enumerate(words):
        if not strange[place]:
            continue
        before = question[: one.start()].rstrip()
        begins = not before or before[-1] in _SENTENCE_ENDS
        follows = place + 1 < len(words) and strange[place + 1]
        if begins and not follows:
            continue  # the first word of a sentence has a capital in any case
        if not follows and not (place and strange[place - 1]) and aside and not _NAMED.search(before):
            continue  # “every Ikea plan”
        if place and not begins and words[place - 1].group().casefold() in _ARTICLES:
            continue  # "an Astronaut" is not a person
        return True
    return False


def _strange(word: str, known: AbstractSet[str]) -> bool:
    """Whether a word is written like a name that nobody knows."""
    folded = without_s(word).casefold()
    forms = {folded, re.split("['’]", folded)[0]}
    return len(word) > 1 and word[0].isupper() and forms.isdisjoint(known) and forms.isdisjoint(_NO_NAMES)
