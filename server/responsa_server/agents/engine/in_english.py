"""Questions for the calculator and the clock in other languages, in the English words that the rules and the examples of these tools know. Pure.

Only a message that is wholly such a question is understood. A word that is not in these tables changes the question, so the message then stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from responsa_server.agents.engine.arithmetic import expression
from responsa_server.agents.engine.timing import zones
from responsa_server.text.dates import MONTHS

_MOST_CHARACTERS: Final = 200
# Digits and percent signs of Arabic, and full-width forms.
_SIGNS: Final = str.maketrans(
    {
        **{chr(0x660 + digit): str(digit) for digit in range(10)},
        **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
        "٪": "%",
        "％": "%",
        "٫": ".",
        "٬": ",",
        "？": "?",
        "؟": "?",
        "¿": " ",
        "，": ",",
        "。": ".",
        "（": "(",
        "）": ")",
        "＋": "+",
        "－": "-",
        "\u00a0": " ",
        "\u202f": " ",
        "\u064b": "",  # an Arabic vowel sign that is often left out
    }
)
_COMPUTED: Final = re.compile(r"(?:square root of|half of|double)? ?[-+*/().,%\d ]+(?:of [.,\d ]+)?")
_DECIMAL_COMMA: Final = re.compile(r"(?<=\d),(?=\d)")
_THOUSANDS: Final = re.compile(r"(?<![\d.,])(\d{1,3})((?:\.\d{3})+)(?=,\d)")
# Whether the point separates thousands or decimals is not known.
_UNSURE: Final = re.compile(r"\d\.\d{3}(?!\d)|,\d+,")


@dataclass(frozen=True, slots=True)
class _Language:
    """How a language asks. All patterns are in lower case, and match the whole of what they stand for.

    words: what becomes an operator or an English word. before, after: the words around an expression. now: a question for the time, perhaps with a `place`. today: one for the date. until: one
    for the number of days until a `day` of a `month`, perhaps with a `year`. months: the months, from January, with spaces between them; "" if they are numbers. places: the names of places that differ from the English ones.
    comma: whether a comma stands before decimals.
    """

    words: Sequence[tuple[str, str]]
    before: str
    after: str
    now: Sequence[str]
    today: str
    until: str
    months: str = ""
    places: Mapping[str, str] = field(default_factory=dict[str, str])
    comma: bool = True


def _names(text: str) -> Mapping[str, str]:
    """Names with their English ones, of "name=English, name=English"."""
    pairs = (pair.split("=") for pair in text.split(","))
    return {name.strip(): english.strip() for name, english in pairs}


_IN: Final = r"(?P<place>[^?]{2,40}?)"
_LANGUAGES: Final = (
    _Language(
        (
            (r"(?:\bprozent|%) von\b", "% of"),
            (r"\bprozent\b", "%"),
            # "3/4 von 92"
            (r"(?<![\d.,/])(\d{1,4} ?/ ?\d{1,4}) von\b", r"(\1) *"),
            (r"\bmal\b", "*"),
            (r"\bplus\b", "+"),
            (r"\bminus\b", "-"),
            (r"\b(?:geteilt )?durch\b", "/"),
            (r"\bhoch\b", "**"),
            (r"\b(?:die )?(?:quadrat)?wurzel (?:aus|von)\b", "square root of"),
            (r"\bdie hälfte von\b", "half of"),
            (r"\bdas doppelte von\b", "double"),
        ),
        r"(?:was (?:ist|sind|ergibt|ergeben|macht|gibt)|wie ?viel (?:ist|sind|ergibt|ergeben|macht|gibt)|berechne|rechne)",
        "",
        (
            rf"(?:wie spät|wie ?viel uhr|welche uhrzeit) (?:ist es|haben wir)(?: (?:gerade|jetzt|im moment|momentan))*(?: in {_IN})?(?: (?:gerade|jetzt|im moment))?",
        ),
        r"(?:welche[nrs]? (?:tag|datum|wochentag) (?:ist|haben wir) heute|den wievielten haben wir heute|der wievielte ist heute|was ist heute für ein (?:tag|datum))",
        r"wie viele tage (?:sind es |sind |dauert es |bleiben )?(?:noch )?bis (?:noch )?(?:zum )?(?P<day>\d{1,2})\. ?(?P<month>[^\W\d_]+)(?: (?P<year>\d{4}))?",
        "januar februar märz april mai juni juli august september oktober november dezember",
        _names(
            "tokio=Tokyo, peking=Beijing, moskau=Moscow, rom=Rome, mailand=Milan, wien=Vienna, zürich=Zurich, genf=Geneva, brüssel=Brussels, prag=Prague, warschau=Warsaw, lissabon=Lisbon, athen=Athens, kairo=Cairo, neu-delhi=New Delhi, singapur=Singapore, hongkong=Hong Kong, indien=India, japan=Japan, deutschland=Germany, kopenhagen=Copenhagen, münchen=Munich, köln=Cologne"
        ),
    ),
    _Language(
        (
            (r"(?:\bpor ciento|%) de\b", "% of"),
            (r"\bpor ciento\b", "%"),
            (r"\bdividido (?:por|entre)\b|\bentre\b", "/"),
            (r"\b(?:multiplicado )?por\b", "*"),
            (r"\bm[áa]s\b", "+"),
            (r"\bmenos\b", "-"),
            (r"\belevado a(?: la)?\b", "**"),
            (r"\bla ra[íi]z cuadrada de\b", "square root of"),
            (r"\bla mitad de\b", "half of"),
            (r"\bel doble de\b", "double"),
        ),
        r"(?:cu[áa]nto (?:es|son|da|hace|vale)|qu[ée] es|cu[áa]l es|calcula)(?: el(?= \d))?",
        "",
        (rf"qu[ée] hora es(?: ahora)?(?: mismo)?(?: en {_IN})?(?: ahora)?",),
        r"(?:qu[ée] (?:d[íi]a|fecha) es hoy|qu[ée] d[íi]a de la semana es hoy|a qu[ée] fecha estamos|cu[áa]l es la fecha de hoy)",
        r"cu[áa]ntos d[íi]as (?:faltan|quedan|hay) (?:para|hasta)(?: el)? (?P<day>\d{1,2}) de (?P<month>[^\W\d_]+)(?: de(?:l)? (?P<year>\d{4}))?",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        _names(
            "nueva york=New York, londres=London, parís=Paris, berlín=Berlin, moscú=Moscow, pekín=Beijing, tokio=Tokyo, japón=Japan, roma=Rome, milán=Milan, viena=Vienna, ginebra=Geneva, bruselas=Brussels, praga=Prague, varsovia=Warsaw, lisboa=Lisbon, atenas=Athens, el cairo=Cairo, nueva delhi=New Delhi, singapur=Singapore, seúl=Seoul, ciudad de méxico=Mexico City, los ángeles=Los Angeles, españa=Spain, alemania=Germany"
        ),
    ),
    _Language(
        (
            (r"(?:\bpour ?cent|%) de\b", "% of"),
            (r"\bpour ?cent\b", "%"),
            (r"\b(?:fois|multiplié par)\b", "*"),
            (r"\bplus\b", "+"),
            (r"\bmoins\b", "-"),
            (r"\bdivisé par\b", "/"),
            (r"\b(?:à la )?puissance\b", "**"),
            (r"\bla racine carrée de\b", "square root of"),
            (r"\bla moitié de\b", "half of"),
            (r"\ble double de\b", "double"),
        ),
        r"(?:combien (?:font|fait|vaut|valent)|que (?:font|fait|vaut)|ça fait combien|quelle est|quel est|calcule[rz]?)",
        "",
        (
            rf"quelle heure (?:est-il|il est)(?: maintenant| actuellement)?(?: (?:à|au|en) {_IN})?(?: maintenant)?",
        ),
        r"(?:quel jour (?:sommes-nous|est-on|est-ce)(?: aujourd['’]hui)?|quelle est la date(?: d['’]aujourd['’]hui| du jour)?|quelle date sommes-nous)",
        r"(?:il reste )?combien de jours (?:reste-t-il |y a-t-il |restent )?(?:jusqu['’]au|jusqu['’]à|avant(?: le)?|d['’]ici(?: le| au)?) ?(?P<day>\d{1,2})(?:er)? (?P<month>[^\W\d_]+)(?: (?P<year>\d{4}))?",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        _names(
            "londres=London, pékin=Beijing, moscou=Moscow, rome=Rome, vienne=Vienna, genève=Geneva, bruxelles=Brussels, prague=Prague, varsovie=Warsaw, lisbonne=Lisbon, athènes=Athens, le caire=Cairo, singapour=Singapore, séoul=Seoul, japon=Japan, montréal=Montreal, allemagne=Germany"
        ),
    ),
    _Language(
        (
            (r"(\d[\d.,]*) ?의 ?(\d[\d.,]*) ?(?:%|퍼센트|프로)", r"\2 % of \1"),
            (r"(\d[\d.,]*) ?의 ?제곱근", r"square root of \1"),
            (r"(\d[\d.,]*) ?의 ?(?:절반|반)", r"half of \1"),
            (r"퍼센트|프로", "%"),
            ("곱하기", "*"),
            ("더하기", "+"),
            ("빼기", "-"),
            ("나누기", "/"),
        ),
        "",
        r"(?:은|는|이|가|을|를)? ?(?:얼마(?:예요|에요|인가요|입니까|야|지|죠)?|몇(?:이에요|인가요|입니까|이야)?|뭐(?:예요|에요|야)?|계산해 ?(?:줘|주세요|줄래요)?)?",
        (
            rf"(?:(?:지금|현재) )?{_IN}(?:은|는|의|에서는?)? ?(?:(?:지금|현재) ?)?(?:시간(?:은|이) ?)?몇 ?시(?:예요|에요|야|입니까|인가요|죠|지)?",
            r"(?:(?:지금|현재) ?)?(?:시간(?:은|이) ?)?몇 ?시(?:예요|에요|야|입니까|인가요|죠|지)?",
        ),
        r"오늘(?:은|이)? ?(?:며칠|몇 ?월 ?며칠|무슨 ?요일|날짜(?:가|는)? ?(?:뭐|어떻게 ?돼)?)(?:이에요|예요|에요|이야|야|입니까|인가요|요)?",
        r"(?:(?P<year>\d{4})년 ?)?(?P<month>\d{1,2})월 ?(?P<day>\d{1,2})일까지(?:는)? ?(?:며칠|몇 ?일)(?:이|은)? ?(?:남았(?:어요|나요|습니까|어|지)|이에요|예요)?",
        places=_names(
            "서울=Seoul, 뉴욕=New York, 런던=London, 파리=Paris, 베를린=Berlin, 도쿄=Tokyo, 일본=Japan, 베이징=Beijing, 북경=Beijing, 중국=China, 상하이=Shanghai, 홍콩=Hong Kong, 싱가포르=Singapore, 시드니=Sydney, 모스크바=Moscow, 로마=Rome, 마드리드=Madrid, 두바이=Dubai, 방콕=Bangkok, 하노이=Hanoi, 로스앤젤레스=Los Angeles, 시카고=Chicago, 토론토=Toronto, 한국=South Korea"
        ),
        comma=False,
    ),
    _Language(
        (
            (r"(\d[\d.,]*) ?的 ?(\d[\d.,]*) ?%", r"\2 % of \1"),
            (r"(\d[\d.,]*) ?的百分之 ?(\d[\d.,]*)", r"\2 % of \1"),
            (r"(\d[\d.,]*) ?的平方根", r"square root of \1"),
            (r"(\d[\d.,]*) ?的一半", r"half of \1"),
            ("乘以|乘", "*"),
            ("加上|加", "+"),
            ("减去|减|減", "-"),
            ("除以", "/"),
        ),
        "(?:请|請)?(?:计算|計算|算一下|算)?",
        "(?:是多少|等于多少|等於多少|等于几|等于|等於|是几|得多少|得几|多少)?",
        (
            rf"(?:请问)?(?:(?:现在|現在)(?:在)?)?{_IN}(?:的)?(?:(?:现在|現在)(?:是)?)?(?:时间是)?(?:几点|幾點)(?:了|钟|鐘)*",
            r"(?:请问)?(?:现在|現在)?(?:是)?(?:时间是)?(?:几点|幾點)(?:了|钟|鐘)*",
        ),
        "今天(?:是)?(?:几号|幾號|几月几号|星期几|星期幾|礼拜几|周几|什么日期|什么日子)",
        "(?:现在)?(?:离|距离|距|到)(?:(?P<year>\\d{4})年)?(?P<month>\\d{1,2})月(?P<day>\\d{1,2})[日号](?:还)?(?:有|剩|剩下)?(?:几|多少)天",
        places=_names(
            "北京=Beijing, 上海=Shanghai, 香港=Hong Kong, 台北=Taipei, 纽约=New York, 伦敦=London, 巴黎=Paris, 柏林=Berlin, 东京=Tokyo, 日本=Japan, 首尔=Seoul, 新加坡=Singapore, 悉尼=Sydney, 莫斯科=Moscow, 罗马=Rome, 马德里=Madrid, 迪拜=Dubai, 曼谷=Bangkok, 洛杉矶=Los Angeles, 芝加哥=Chicago, 多伦多=Toronto, 中国=China, 德国=Germany"
        ),
        comma=False,
    ),
    _Language(
        (
            (r"(\d[\d.,]*) ?(?:%|بالمئة|بالمائة|في المئة|في المائة) من ", r"\1 % of "),
            ("بالمئة|بالمائة|في المئة|في المائة", "%"),
            ("(?:مضروبا )?(?:في|ضرب)(?= )", "*"),
            ("زائد", "+"),
            ("ناقص", "-"),
            ("(?:مقسوما )?على|تقسيم", "/"),
            ("الجذر التربيعي (?:ل|لـ|للعدد) ?", "square root of "),
            ("نصف(?= )", "half of"),
            ("ضعف(?= )", "double"),
        ),
        "(?:كم يساوي|كم تساوي|ما يساوي|كم حاصل|ما هو ناتج|ما ناتج|ما هو|ما هي|كم هو|كم|احسب)",
        "",
        (rf"كم (?:هي )?الساعة(?: الآن)?(?: في {_IN})?(?: الآن)?",),
        "(?:ما (?:هو )?تاريخ اليوم|ما (?:هو )?اليوم|أي يوم (?:هو )?اليوم|كم تاريخ اليوم)",
        "كم (?:يوما|يوم) (?:بقي|تبقى|يتبقى|باق|باقي)?(?: لنا)? ?(?:حتى|إلى|على) (?P<day>\\d{1,2}) (?P<month>[^\\W\\d_]+)(?: (?P<year>\\d{4}))?",
        "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
        _names(
            "نيويورك=New York, لندن=London, باريس=Paris, برلين=Berlin, طوكيو=Tokyo, بكين=Beijing, سول=Seoul, القاهرة=Cairo, مصر=Egypt, دبي=Dubai, الرياض=Riyadh, السعودية=Riyadh, بغداد=Baghdad, دمشق=Damascus, بيروت=Beirut, عمان=Amman, الدار البيضاء=Casablanca, المغرب=Casablanca, تونس=Tunis, الجزائر=Algiers, إسطنبول=Istanbul, موسكو=Moscow, روما=Rome, مدريد=Madrid, سيدني=Sydney"
        ),
        comma=False,
    ),
)


@dataclass(frozen=True, slots=True)
class _Patterns:
    """The patterns of a language, ready for use."""

    language: _Language
    words: Sequence[tuple[re.Pattern[str], str]]
    before: re.Pattern[str]
    after: re.Pattern[str]
    now: Sequence[re.Pattern[str]]
    today: re.Pattern[str]
    until: re.Pattern[str]


_PATTERNS: Final = [
    _Patterns(
        one,
        [(re.compile(pattern), by) for pattern, by in one.words],
        re.compile(rf"{one.before}(?=\W)"),
        re.compile(rf"{one.after}$"),
        list(map(re.compile, one.now)),
        re.compile(one.today),
        re.compile(one.until),
    )
    for one in _LANGUAGES
]


def in_english(text: str) -> str:
    """The question in English, if it is one for a computation, the time in a place, the date, or the number of days until a date, in German, Spanish, French, Korean, Chinese or Arabic;
    "" if it is another message.
    """
    if len(text) > _MOST_CHARACTERS:
        return ""
    plain = " ".join(text.translate(_SIGNS).casefold().split()).strip(" ?!.¡:")
    for one in _PATTERNS:
        if one.today.fullmatch(plain):
            return "What is today's date?"
        if found := _until(plain, one) or _now(plain, one) or _computation(plain, one):
            return found
    return ""


def _until(plain: str, one: _Patterns) -> str:
    found = one.until.fullmatch(plain)
    if found is None:
        return ""
    day, month, year = found["day"], found["month"], found["year"]
    months = one.language.months.split()
    if months and month not in months:
        return ""
    place = months.index(month) if months else int(month) - 1
    if not 0 <= place < len(MONTHS):
        return ""
    return f"How many days until {day} {MONTHS[place]}{f' {year}' if year else ''}?"


def _now(plain: str, one: _Patterns) -> str:
    for pattern in one.now:
        found = pattern.fullmatch(plain)
        if found is None:
            continue
        place = found.groupdict().get("place")
        if place is None:
            return "What time is it?"
        if named := one.language.places.get(place):
            return f"What time is it in {named}?"
        # Many places have their English name.
        if zones(place.title()):
            return f"What time is it in {place.title()}?"
    return ""


def _computation(plain: str, one: _Patterns) -> str:
    rest = one.before.sub("", plain, count=1) if one.language.before and one.before.match(plain) else plain
    rest = one.after.sub("", rest, count=1)
    said = rest
    for pattern, by in one.words:
        said = pattern.sub(f" {by} ", said)
    said = " ".join(said.split())
    # Without a word of the language, this is not a question in it. "1,500 plus 3" is English, too, and says a thousand.
    if said == plain or _COMPUTED.fullmatch(said) is None or expression(plain):
        return ""
    if one.language.comma:
        said = _THOUSANDS.sub(lambda found: found[1] + found[2].replace(".", ""), said)
        if _UNSURE.search(said):
            return ""
        said = _DECIMAL_COMMA.sub(".", said)
    asked = f"What is {said}?"
    return asked if expression(asked) else ""
