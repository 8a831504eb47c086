"""Fits the weights of text/instructing.py on the part `fit` of evals/instructions, chooses the threshold on `choose` and `look`, and prints the shares of all three.

Lines of our own pages are part of the fit. evals/instructions/pages.txt keeps those that had a feature in November 2026, so that no change of a page changes the weights.

Usage: python tools/instruction_weights.py [--fresh]   (--fresh: measure the part `fresh` too)
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from responsa_server.instance import CHECKOUT
from responsa_server.text.instructing import features, instructing_spans, score

Floats = npt.NDArray[np.float64]
SETS: Final = CHECKOUT / "evals" / "instructions"
PAGES_WEIGHT: Final = 400.0
RIDGE: Final = 0.5
ROUNDS: Final = 30
MARGIN: Final = 0.2
"""How far the threshold is above the highest score of an ordinary sentence of `choose` and `look`, without those about prompts and assistants."""
ABOUT: Final = "prompts and assistants"
TASKS: Final = "tasks"
"""Tasks and questions without an addressee, such as "Write a limerick". They are not fitted, because an exercise is worded in the same way."""
PRIOR: Final = {
    "about_machine": -2.0, "any_question": 3.5, "asked_this": 5.0, "delivered": -4.0, "quoting": 5.0, "user_foreign": 4.0, "yourself": 3.0, "addressee": -1.0, "advert": 0.3, "cite": 1.0, "code": -1.0, "core": 3.0, "encoded": 5.0, "exam": -4.5, "heading": 4.0, "henceforth": 3.5,
    "machine_must": 2.5, "must_output": 0.5, "only": 1.0, "orders_machine": 4.0, "order_you": 4.0, "only_foreign": 2.5, "only_word": 4.0, "output": 1.0, "output_foreign": 2.0, "own_rules_asked": 3.0,
    "page": -1.0, "persona": 0.5, "prior_rules": 0.5, "prompt_foreign": 3.0, "question_quit": 1.5, "quit": 0.3, "quit_limited": -2.5, "quit_rules": 1.5, "reader_machine": 6.0, "reading_this": 0.5,
    "reports": -1.0, "reveal": 1.5, "role_speaks": 2.0, "rules_void": 1.0, "say_output": 1.5, "sie": -1.0, "speaker": 3.5, "strong_machine": 0.3, "system_prompt": 1.0,
    "tag": 3.0, "third": -1.5, "to_machine": 2.0, "told_before": 4.0, "tool": 1.5, "transform": 0.5, "transform_output": 5.0, "unbound": 1.0,
    "user": 2.0, "void_foreign": 4.0, "whatever": 1.0, "you_are": 1.0, "your_rules": 1.0,
}  # fmt: skip
"""What the weights are drawn to. `fit` has few sentences with some of the features, and none with others."""
LEAST: Final = 0.1


@dataclass(frozen=True, slots=True)
class Labelled:
    """A sentence of evals/instructions. instructs: whether it gives instructions to an assistant."""

    text: str
    instructs: bool
    subject: str
    language: str


def read(part: str) -> Sequence[Labelled]:
    """The sentences of a part."""
    return [Labelled(**json.loads(line)) for line in (SETS / f"{part}.jsonl").read_text().splitlines()]


def pages() -> Sequence[str]:
    """Lines of the project's own pages, which are ordinary text."""
    return (SETS / "pages.txt").read_text().splitlines()


def fitted(rows: Floats, right: Floats, weights: Floats, prior: Floats) -> Floats:
    """The base and the weights of a logistic regression by Newton's method. An L2 penalty draws them to `prior`."""
    given: Floats = np.hstack([np.ones((len(rows), 1)), rows])
    found: Floats = prior.copy()
    penalty: Floats = np.full(len(prior), RIDGE)
    penalty[0] = 0.0
    for _ in range(ROUNDS):
        said: Floats = 1 / (1 + np.exp(-given @ found))
        slope: Floats = given.T @ (weights * (right - said)) - penalty * (found - prior)
        curve: Floats = (given.T * (weights * said * (1 - said))) @ given + np.diag(np.maximum(penalty, 1e-6))
        found = found + np.linalg.solve(curve, slope)
    return found


def fit() -> None:
    """Fits, chooses the threshold and prints base and weights."""
    names = list(features(""))
    labelled = [one for one in read("fit") if one.subject != TASKS]

    def rows(texts: Sequence[str]) -> Floats:
        return np.array([list(features(one).values()) for one in texts])

    plain = rows(pages())
    plain = plain[plain.any(axis=1)]
    given = np.vstack([rows([one.text for one in labelled]), plain])
    right = np.r_[[float(one.instructs) for one in labelled], np.zeros(len(plain))]
    weights = np.r_[np.ones(len(labelled)), np.full(len(plain), PAGES_WEIGHT / len(plain))]
    prior = np.array([0.0, *(PRIOR.get(name, 0.0) for name in names)])
    found = fitted(given, right, weights, prior)
    found[1:][np.abs(found[1:]) < LEAST] = 0.0
    chosen = (*read("choose"), *read("look"))
    ordinary = [one.text for one in chosen if not one.instructs and one.subject != ABOUT]
    threshold = np.max(found[0] + rows(ordinary) @ found[1:]) + MARGIN
    print(f"_BASE: Final = {found[0] - threshold:.2f}")
    print("_WEIGHTS: Final[Mapping[str, float]] = {")
    for name, weight in zip(names, found[1:], strict=True):
        if weight:
            print(f'    "{name}": {weight:.2f},')
    print("}")


def interval(count: int, of: int) -> str:
    """A share with its 95 % interval (Wilson)."""
    if not of:
        return "–"
    share, spread = count / of, 1.96**2 / of
    middle = (share + spread / 2) / (1 + spread)
    half = 1.96 * ((share * (1 - share) + spread / 4) / of) ** 0.5 / (1 + spread)
    return f"{count} of {of}: {share:.4f} ({max(middle - half, 0):.4f}–{middle + half:.4f})"


def measure(part: str) -> None:
    """Prints how many sentences of a part count as instructions, by subject, and the time that a sentence takes."""
    counts, flagged = Counter[tuple[bool, str]](), Counter[tuple[bool, str]]()
    rows = read(part)
    for one in rows:
        counts[one.instructs, one.subject] += 1
        flagged[one.instructs, one.subject] += bool(instructing_spans(one.text))
    print(f"{part}: instructions {'found':>8}")
    for key in sorted(counts):
        print(
            f"  {'instructions' if key[0] else 'ordinary':<13}{key[1]:<26}{interval(flagged[key], counts[key])}"
        )
    groups = {
        "instructions that are not tasks": [key for key in counts if key[0] and key[1] != TASKS],
        "ordinary sentences that are not about prompts": [
            key for key in counts if not key[0] and key[1] != ABOUT
        ],
    }
    for name, keys in groups.items():
        print(f"  {name}: {interval(sum(flagged[key] for key in keys), sum(counts[key] for key in keys))}")
    for one in rows:
        if bool(instructing_spans(one.text)) != one.instructs and one.subject != TASKS and part != "fresh":
            print(f"    {'missed' if one.instructs else 'false'} {score(one.text):.2f}  {one.text}")


def paces(folder: Path) -> None:
    """Prints the time that our pages take, in microseconds a line."""
    texts = [path.read_text() for path in sorted(folder.rglob("*.md"))]
    lines = sum(text.count("\n") + text.count(". ") for text in texts)
    started = time.process_time()
    found = sum(len(instructing_spans(text)) for text in texts)
    took = (time.process_time() - started) / lines * 1e6
    print(f"{folder.name}: {lines} sentences and lines, {found} found, {took:.1f} µs each")


if __name__ == "__main__":
    fit()
    for each in ("fit", "choose", "look", *(["fresh"] if "--fresh" in sys.argv else [])):
        measure(each)
    paces(CHECKOUT / "docs")
