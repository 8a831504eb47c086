"""The questions into which a message is divided."""

from __future__ import annotations

import pytest

from responsa_server.agents.engine.dividing import noun_of, questions_of


@pytest.mark.parametrize(
    ("text", "questions"),
    [
        (
            "How do I delete a document, and can I get it back?",
            ("How do I delete a document", "can I get a document back?"),
        ),
        (
            "What does the Plus plan cost, and can I cancel it at any time?",
            ("What does the Plus plan cost", "can I cancel the Plus plan at any time?"),
        ),
        (
            "Does the Wren 2 measure CO2, and how much does it cost?",
            ("Does the Wren 2 measure CO2", "how much does the Wren 2 cost?"),
        ),
        (
            "How long do I keep the receipts of a trip, and where do I send them?",
            ("How long do I keep the receipts of a trip", "where do I send the receipts of a trip?"),
        ),
        (
            "Who approves a business trip? And what is its longest duration?",
            ("Who approves a business trip?", "what is a business trip’s longest duration?"),
        ),
        (
            "How do I add a dependency and then update it?",
            ("How do I add a dependency", "How do I update a dependency?"),
        ),
        (
            "How can we book a tour, and then cancel the tour?",
            ("How can we book a tour", "How can we cancel the tour?"),
        ),
        (
            "What is 15 % of 1,250 and which port does Responsa listen on by default?",
            ("What is 15 % of 1,250", "which port does Responsa listen on by default?"),
        ),
        # Both are about what stands before the message, so they stay together.
        ("How far is it to Rome, and what does it cost?", ()),
        # One question.
        ("How do I cut and paste a cell?", ()),
        ("How do I add a dependency and an alias?", ()),
        ("My bicycle was stolen last night. What does the insurance pay?", ()),
    ],
)
def test_questions(text: str, questions: tuple[str, ...]) -> None:
    assert questions_of(text) == questions


@pytest.mark.parametrize(
    ("question", "noun"),
    [
        ("How long does the battery of Wren 2 last?", "the battery of Wren 2"),
        ("Is the app free", "the app"),
        ("Where is my order?", "my order"),
        ("What is Scarb", "Scarb"),
        ("Does the hub need a battery", "the hub"),
        ("How do I do that", ""),
        ("What are the prices", ""),
        ("How late is it", ""),
        ("", ""),
    ],
)
def test_what_a_question_is_about(question: str, noun: str) -> None:
    assert noun_of(question) == noun
