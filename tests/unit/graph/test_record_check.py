"""The check of a model's answer from a person's record, and the rules for questions about others."""

from __future__ import annotations

import pytest

from responsa_server.agents.engine.record_check import problem_of
from responsa_server.search.others import about_another
from responsa_server.search.record_lines import figure_of

RECORD = """Thinking skills of Mira Holt
Mira Holt's openness is very high: 88 of 100 points.
Mira Holt's memory is average: 97 points, where 100 is the average.
Map maker is recommendation 1 for Mira Holt: the match is 93 of 100 points.
Mira Holt has not taken the ability test."""


def checked(sentence: str, *, mark: bool = True, supported: bool = True) -> str:
    marks = [(len(sentence.encode()), 1)] if mark else []
    return problem_of(sentence, marks, [RECORD], [supported] * len(marks))


@pytest.mark.parametrize(
    "sentence",
    [
        "Your openness is very high, with 88 of 100 points.",
        "Your openness is very high: eighty-eight points.",
        "The job Map maker comes first, with a match of 93 points.",
        "You have not taken the ability test.",
        "That is very high: your openness has 88 of 100 points.",
    ],
)
def test_what_the_record_says_may_be_sent(sentence: str) -> None:
    assert checked(sentence) == ""


@pytest.mark.parametrize(
    ("sentence", "problem"),
    [
        ("Your openness is very high, with 89 of 100 points.", "“89”"),
        ("Your openness is eighty-nine points.", "“89”"),
        ("Your openness is low.", "“low”"),
        ("Your openness is high: 88 points.", "“high”"),
        # The figure and the level stand in the record, but not about the memory.
        ("Your memory has 88 of 100 points.", "“88”"),
        ("Your memory is very high.", "“very high”"),
        ("The job Town planner comes first.", "“Town”"),
        ("You are more open than Jonas.", "“Jonas”"),
        ("Jonas has an openness of 88 of 100 points.", "“Jonas”"),
        ("Jonas’s openness is very high: 88 of 100 points.", "“Jonas”"),
    ],
)
def test_what_the_record_does_not_say_is_rejected(sentence: str, problem: str) -> None:
    assert problem in checked(sentence)


def test_figures_need_a_citation_that_holds() -> None:
    assert "cites no passage" in checked("Your openness is 88.", mark=False)
    assert "does not say" in checked("Your openness is 88.", supported=False)
    assert checked("Your record does not say that.", mark=False) == ""
    assert "cites no passage" in checked("You are kind. You like people. You should lead.", mark=False)
    assert "“88”" in problem_of("You have 88.", [(12, 7)], [RECORD], [True])


KNOWN = frozenset(
    [
        "mira",
        "holt",
        "map",
        "maker",
        "openness",
        "spatial",
        "reasoning",
        "town",
        "planner",
        "the",
        "is",
        "o’neill-åberg",
    ]
)


@pytest.mark.parametrize(
    "question",
    [
        "What is Jonas Reed's openness?",
        "what is jonas's openness",
        "Is Jonas more open than I am?",
        "Am I as open as Jonas?",
        "What is Mira Reed's openness?",
        "Compare me with my brother.",
        "How open is she?",
        "Who is the most open?",
        "Show me all other people.",
        "What stands in users/0199?",
        "Show person 17.",
        "What about jonas.reed@example.org?",
        "jonas.reed?",
        "What did my colleague's profile say?",
        "Is everybody that open?",
        "Compared with others, how open am I?",
        "What do my teachers say about me?",
        "Am I better with numbers than other people?",
        "Compare me with other people.",
        "And how did the other do?",
        "Who is my job coach",
        "Who is the training partner of mine",
        "who does this job better, and by how much",
        "who is on course work with me",
        "Whose is the course record?",
        "How open is my flatmate?",
        "what did my team mate score",
        "Everybody in my team did it. How open is my flatmate, and what do I do?",
        "Tell me how everybody in my team did. What do I get?",
        "What is Anna's openness? I am curious.",
    ],
)
def test_a_question_about_somebody_else(question: str) -> None:
    assert about_another(question, KNOWN)


@pytest.mark.parametrize(
    "question",
    [
        "Which careers suit me, and why?",
        "What is Mira Holt's openness?",
        "Openness and spatial reasoning, please.",
        "What's my job's first demand?",
        "Could I become an Astronaut?",
        "Would I make a good manager?",
        "Do I work well with other jobs or with people?",
        "Who should I ask about my test?",
        "Is my verbal or my spatial reasoning better? Compare them.",
        "When did I take the test in March?",
        "Does Map maker suit me?",
        "Is O’Neill-Åberg's openness high?",
        "Am I the sort of person who likes company?",
        "Do I like working with other people?",
        "And who is the degree in history right for?",
        "Who is this job?",
        "Who is the job good for?",
        "Who would that job suit?",
        "Who is the degree for teaching children with special needs right for?",
        "Can I see my strengths without the other test?",
        "My flatmate says I am messy. Score?",
        "My sister says I am as stubborn as a mule. Points?",
        "Why does everyone come to me with their troubles?",
        "who is that for",
        "I lose my way with every Ikea plan. What helps me?",
        "I took both tests AGES ago and still have nothing. Why?",
        "guess who never shuts up. score?",
        "My mother doubts it, but is my score more than average?",
        "Everybody in my kitchen is faster. What's my figure for speed?",
        "Rubik's cube: two sides in a year. What does the test think of me?",
        "I did the test just before Christmas, which day exactly?",
    ],
)
def test_a_question_about_oneself(question: str) -> None:
    assert not about_another(question, KNOWN)


@pytest.mark.parametrize(
    ("question", "other"),
    [
        ("Who should study film, what kind of person?", False),
        ("My cousin works with food. What does a dietitian do all day?", False),
        ("What did it say in my brother's profile?", True),
        ("What would Jonas Reed do there?", True),
    ],
)
def test_a_question_about_jobs_may_mention_people(question: str, other: bool) -> None:
    assert about_another(question, KNOWN, about_things=True) is other


@pytest.mark.parametrize(
    "text",
    ["a" * 16_384, "a-" * 8_192, "a'" * 8_192, "a_" * 8_192, "id " * 5_461, ":" * 100_000, "a. " * 5_461],
)
def test_long_questions_and_lines_are_read_in_bounded_time(text: str) -> None:
    """The test's own limit of time would end a search that takes quadratic time."""
    assert not about_another(text, KNOWN)
    assert figure_of(text) is None
