"""The arguments of tools that rules take from a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from responsa_server.agents.engine.filling import Message, filled, search_words
from responsa_server.agents.engine.in_english import in_english
from responsa_server.domain.tools import ToolCard
from responsa_server.tools.calculator import computed

UTC_NOW: Mapping[str, object] = {}
NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)  # a Monday


def arguments(
    kind: str, text: str, schema: Mapping[str, object] | None = None
) -> Sequence[Mapping[str, object]]:
    return filled(kind, ToolCard("x", "", schema or {"type": "object"}), Message(text, text, NOW))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("What is 17 % of 240?", "40.8"),
        ("how much is 1,240.50 € minus 3 * 12", "1204.50"),
        ("take 20 % off 350", "280"),
        ("200 plus 19 % VAT", "238"),
        ("add 5 percent tip to 40", "42"),
        ("the square root of 1521?", "39"),
        ("cube root of 729", "9"),
        ("2 to the power of 10", "1024"),
        ("5 factorial plus 11", "131"),
        ("split 90 between three friends", "30"),
        ("4 nights at 89.90 each", "359.60"),
        ("how long do I need for 312 miles at 52 mph", "6"),
        ("sum of 120, 85.5 and 33", "238.5"),
        ("average of 3, 7 and 20", "10"),
        ("multiply 7 and 6", "42"),
        ("(3.5 + 2.25) × 4 = ?", "23"),
        ("hi, what's 5-3?", "2"),
        ("What does 12 % of 845 come to?", "101.4"),
        ("how much is 240 - 15 %", "204"),
        ("what is 240€ after a discount of 15 %?", "204"),
        ("8 hours at 12.50 an hour", "100"),
        ("what are 3 nights at 90 €?", "270"),
        ("one plus two", "3"),
        ("what is -5 + 3", "-2"),
        ("twenty two plus 3", "25"),
        ("two thirds of 459", "306"),
        ("what's a quarter of 96?", "24"),
        ("What is £96 without the 20% VAT?", "80"),
        ("It went from 80 to 92, what percentage is that?", "15"),
        ("a room of 2.5 by 4 metres, what's the area?", "10"),
        ("If it costs £320 and I get a quarter off, what do I pay?", "240"),
        ("He pays the £33.67 with a fifty, how much change does he get?", "16.33"),
        ("My flat is 64 square metres and costs 1,024 a month. What's that for one square metre?", "16"),
        ("net price of 90 quid if VAT is 20%", "75"),
        ("Sales dropped from 8,000 to 7,000, whats that in percnt", "-12.5"),
        ("The bag is 14 kg, the tent 2.5 and the water 3. Total?", "19.5"),
        ("total of 3 nights at 80 and 2 nights at 90", "420"),
        # Stories.
        ("A jacket is 132 after 20% was taken off. What was it before?", "165"),
        ("What would £150 grow to after 2 years at 10% interest?", "181.5"),
        ("We split a bill of £120 between six of us with a 10% tip on top. What does each pay?", "22"),
        ("Our wall is 6 m by 2.5 m and a roll covers 5 square metres, how many rolls?", "3"),
        ("She needs 80 g each and has 2.4 kg, how many will that make?", "30"),
        ("A rope of 60 m is cut into pieces of 1.5 m. How many pieces do I get?", "40"),
        ("We had 1,140 visitors and 57 of them bought something. Percentage?", "5"),
        ("At 2.7 miles an hour, how far do we get in 5 hours and 20 minutes?", "14.4"),
        ("Two coaches hold 53 people each and 88 have signed up; how many seats stay empty?", "18"),
        ("How many grams are 2 kilos and 30 grams?", "2030"),
        ("half of two thirds of 840?", "280"),
        ("Three pairs at £12.50 and a hat at £18, how much is that together?", "55.5"),
        ("at 4.5 km an hour, how far do I get in six and a half hours?", "29.25"),
        ("How many metres are 3.5 km?", "3500"),
        ("240 km in 2.5 hours. How fast is that?", "96"),
        ("36 km in 2 hours. How fast in m/s?", "5"),
        ("what is 2 kg in grams", "2000"),
        ("how many grams in a pound", "453.59237"),
        ("what is 5 feet 6 in inches", "66"),
        ("what is minus 10 Celsius in Fahrenheit", "14"),
        ("How many days are there in a fortnight?", "14"),
    ],
)
def test_arithmetic_in_words(text: str, value: str) -> None:
    (found,) = arguments("calculator", text)
    assert computed(str(found["expression"]))[0] == computed(value)[0]


@pytest.mark.parametrize(
    "text",
    [
        "I am 42 and live on the 3rd floor",
        "order FH-10-382 came on 2026-11-23",
        "the train at 7:15 - 8:40",
        "see pages 12.11.2026",
        'translate "what is 2 + 2?" into French',
        "What is the discount in percent?",
        "does the 40 litre bag hold 3 litres",
        "we were 3 at the table and 4 at the bar, how much is that",
        "how many miles are 40 litres",
        "",
        # Names, versions and places.
        "How much is the Heron 40 after 15 % off?",
        "heron 40 with 15 % off",
        "15 % off Alder 2 tents",
        "10 % of 5 star hotels",
        "Is C++ 11 - 14 faster?",
        "Python 3.11 - 3.13",
        "What changed from 3.11.2 to 3.12 + 1?",
        "rooms 12 - 14",
        "room 12 squared",
        # Ranges, ratios, dates and times.
        "5-10",
        "5 - 10 people",
        "9–17",
        "10-15 %",
        "How much is a discount of 10 - 15 %?",
        "do you have 24/7 support",
        "What is 24/7 support?",
        "let us go 50/50",
        "3/4",
        "what was the score of 3-1 about",
        "What is 2019-2024?",
        "2026-11",
        "open 9 am - 5 pm",
        "split 90 by 5 pm",
        "meet 3 friends at 7",
        "add 20 minutes to 3 May",
        # Telephone numbers and codes.
        "call 555-1234",
        "What is 0170 - 123?",
        "+49 170 1234567",
        "978-3-16",
        # Numbers whose size is not sure.
        "What is 1,5 * 2?",
        "What is 1.240,50 + 3?",
        "What is 1 000 * 2?",
        "What is 5 * 10k?",
        "what is 2 million times 3",
        "What is ٣ + ٤?",
        "what is 2 + 3!",
        # Not all is understood.
        "square root of 16 + 9",
        "What is 17 % of 240 plus 5?",
        "3 * 4 and 5 * 6",
        "3 weeks at 90 a night",
        "312 km at 52 mph",
        "2 tents for 4",
        "If I put away £85 a month at 4% a year, how much do I have after three years?",
        "I owe Sam 17.35 and Priya 22.10, but Tom owes me 31. What is that in total?",
        "One part cleaner to twelve parts water, how much cleaner is in 5 litres altogether?",
        "What would three Alder 2 tents cost with 15 percent off?",
        "240 including 20 % VAT",
        "240 with 20 % VAT",
        "1000 euros at 5 %",
        "share 20 with 3 friends",
        "20 € plus 10 $",
        "the table is 120x60",
    ],
)
def test_numbers_that_are_not_arithmetic(text: str) -> None:
    assert arguments("calculator", text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what time is it?", [UTC_NOW]),
        ("time in Tokyo and in new york please", [{"zone": "Asia/Tokyo"}, {"zone": "America/New_York"}]),
        ("What is the time in Atlantis?", []),
        ("what time does the shop open in London?", []),
        ("what day is it tomorrow", [{"time": "2026-11-24"}]),
        ("which weekday is 3 March 2027", [{"time": "2027-03-03"}]),
        ("how many days until Christmas", [{"time": "2026-11-23", "until": "2026-12-25"}]),
        ("Was 1 May 2019 a Wednesday?", [{"time": "2019-05-01"}]),
        ("is it Monday or Tuesday today?", [dict[str, object]()]),
        ("how many days ago is 2 August?", [{"time": "2026-08-02", "until": "2026-11-23"}]),
        (
            "My trip starts on 8 July, how many weeks are left?",
            [{"time": "2026-11-23", "until": "2027-07-08"}],
        ),
        (
            "how many hours till 6pm",
            [{"time": "2026-11-23T09:30+00:00", "until": "2026-11-23T18:00+00:00"}],
        ),
        (
            "How long is it from 22:20 to 6:05?",
            [{"time": "2026-11-23T22:20+00:00", "until": "2026-11-24T06:05+00:00"}],
        ),
        ("when does the shop open on 3 May", []),
        ("days until March 1st", [{"time": "2026-11-23", "until": "2027-03-01"}]),
        ("how long from 1.5.2026 to 2026-09-15", [{"time": "2026-05-01", "until": "2026-09-15"}]),
        ("days since 31 February 2026", []),
        ("Which day is it in ten working days?", [{"time": "2026-12-07"}]),
        ("the date a fortnight from tomorrow?", [{"time": "2026-12-08"}]),
        ("What date is the second Tuesday of February?", [{"time": "2027-02-09"}]),
        ("90 days after 2 November, when's that", [{"time": "2027-01-31"}]),
        ("It began on 7 September and runs for 90 days, when does it end?", [{"time": "2026-12-06"}]),
        ("I was hired on 12 April 2019. How long is that?", [{"time": "2019-04-12", "until": "2026-11-23"}]),
        (
            "It was issued on 19 June 2017 and is good for ten years. How much time do I have?",
            [{"time": "2026-11-23", "until": "2027-06-19"}],
        ),
        (
            "We arrived on 28 June and left on 11 July, how many days is that?",
            [{"time": "2026-06-28", "until": "2026-07-11"}],
        ),
        (
            "when it's 3pm in London, what time is it in New York?",
            [{"time": "2026-11-23T15:00+00:00", "zone": "America/New_York"}],
        ),
    ],
)
def test_times(text: str, expected: Sequence[Mapping[str, object]]) -> None:
    assert arguments("time", text) == expected


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Could you please search the web for campsites near Keswick?", "campsites near Keswick?"),
        ("look up the population of Portugal online please", "population of Portugal"),
        ("Who founded Ikea?", "Who founded Ikea?"),
        ("can you search the web as well?", "as well?"),
        ("search the web", ""),
    ],
)
def test_search_words(text: str, query: str) -> None:
    assert search_words(text) == query
    assert bool(arguments("web_search", text)) == (query not in ("", "as well?"))


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("Was sind 17 % von 240?", "calculator", {"expression": "240 * 17 / 100"}),
        ("Was sind 3/4 von 92?", "calculator", {"expression": "(3/4) * 92"}),
        ("Wie viel ist 1.240,50 mal 2?", "calculator", {"expression": "1240.50 * 2"}),
        ("¿Cuál es la raíz cuadrada de 81?", "calculator", {"expression": "sqrt(81)"}),
        ("¿Cuánto es 100 dividido por 4?", "calculator", {"expression": "100 / 4"}),
        ("Combien font 12,5 fois 18 ?", "calculator", {"expression": "12.5 * 18"}),
        ("240의 17%는 얼마예요?", "calculator", {"expression": "240 * 17 / 100"}),
        ("12乘以18等于多少？", "calculator", {"expression": "12 * 18"}),
        ("كم يساوي ١٢ ضرب ١٨؟", "calculator", {"expression": "12 * 18"}),
        ("Wie viel Uhr ist es gerade in Tokio?", "time", {"zone": "Asia/Tokyo"}),
        ("¿Qué hora es ahora en Nueva York?", "time", {"zone": "America/New_York"}),
        ("Quelle heure est-il ?", "time", {}),
        ("뉴욕은 지금 몇 시예요?", "time", {"zone": "America/New_York"}),
        ("今天星期几？", "time", {}),
        ("离12月24日还有几天？", "time", {"time": "2026-11-23", "until": "2026-12-24"}),
        ("كم يوما بقي حتى 24 ديسمبر؟", "time", {"time": "2026-11-23", "until": "2026-12-24"}),
    ],
)
def test_questions_in_other_languages(text: str, kind: str, expected: Mapping[str, object]) -> None:
    assert arguments(kind, in_english(text)) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "What is 17 % of 240?",
        "1,500 plus 3",
        "Wie viel ist 1.240 mal 2?",  # one number, or more than a thousand?
        "Wie spät ist es in Kleinkleckersdorf?",
        "Wie viel Uhr ist es, wenn der Laden in Rom schließt?",
        "Zimmer 12 plus Frühstück",
        "Was ist 24/7?",
        "12 von 15",
        "de 9 a 5",
        "가게는 몇 시에 열어요?",
        "7点15分的火车晚了20分钟",
        "تأخر قطار الساعة 7:15 عشرين دقيقة",
        "x" * 5000,
    ],
)
def test_other_messages_stay_as_they_are(text: str) -> None:
    assert in_english(text) == ""


def one(**schema: object) -> Mapping[str, object]:
    return {"type": "object", "properties": {"x": schema}, "required": ["x"]}


@pytest.mark.parametrize(
    ("schema", "text", "expected"),
    [
        (one(type="string"), "anything", []),
        (one(enum=["Leeds", "York"]), "rain in york or LEEDS?", ["Leeds", "York"]),
        (one(enum=["York"]), "New Yorkers", []),
        (one(enum=["Bristol", "Edinburgh"]), "snow in edinbrugh", ["Edinburgh"]),
        (one(enum=["Bristol", "Edinburgh"]), "bristols temperature", ["Bristol"]),
        (one(enum=["Bristol", "Edinburgh"]), "bristle or Edinburgh", ["Edinburgh"]),
        (one(type="string", pattern="^FH-[0-9]{5}$"), "where is fh-10382?", ["FH-10382"]),
        (one(type="string", pattern="^.+$"), "any words", []),
        (one(type="string", pattern="("), "a1", []),
        (one(type="integer", maximum=50), "table for 4", [4]),
        (one(type="integer", maximum=50), "4 or 5", []),
        (one(type="integer"), "call 555-1234", []),
        (one(type="integer", maximum=20), "a table at 7 pm, or 7:30", []),
        (one(type="string", format="date"), "free on 24 December", ["2026-12-24"]),
        (one(type="boolean", default=False), "?", [False]),
        (one(const="all"), "?", ["all"]),
        ({"type": "object", "required": ["y"]}, "?", []),
    ],
)
def test_what_a_schema_asks_for(schema: Mapping[str, object], text: str, expected: Sequence[object]) -> None:
    assert [found["x"] for found in arguments("http_api", text, schema)] == expected


def test_a_long_message_is_cut() -> None:
    assert arguments("calculator", "x " * 5000 + "2 + 2") == []
    assert arguments("time", "(" * 20_000) == []
