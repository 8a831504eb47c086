"""A mutant differs from what it was drawn from, and is known again after lines have moved."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.changes import Mutant, mutants_of, mutated

SOURCE = '''
class Till:
    def total(self, prices, least=3):
        """The sum of the prices above the least."""
        total = 0
        for price in prices:
            if price < least or not price:
                continue
            if price in self.free:
                break
            total += price * 2
            self.seen.append(price)
        if self.closed:
            raise RuntimeError(f"closed at {total + 1}")
        assert total != -1
        return total
'''
CHANGES = {
    "total = 0": ["number + 1"],
    "if price < least or not price:": ["Or → And", "Lt → LtE", "not x → x"],
    "continue": ["continue → break"],
    "if price in self.free:": ["In → NotIn"],
    "break": ["break → continue"],
    "total += price * 2": ["Add → Sub", "Mult → FloorDiv", "number + 1"],
    "self.seen.append(price)": ["left out"],
    "if self.closed:": ["condition negated"],
    'raise RuntimeError(f"closed at {total + 1}")': ["left out"],
    "return total": ["None returned"],
}


def outcome(code: object) -> list[object]:
    """What the function returns or raises, and what it has done."""
    names: dict[str, object] = {}
    exec(code, names)
    outcomes: list[object] = []
    for closed, prices in ((False, [3, 1, 0, 5, 9, 7, 5]), (True, [4])):
        till = names["Till"]()
        till.free, till.seen, till.closed = {9}, [], closed
        try:
            outcomes.append(till.total(prices))
        except RuntimeError as error:
            outcomes.append(str(error))
        outcomes.append(till.seen)
    return outcomes


def test_each_change_of_a_function_shows() -> None:
    changes: dict[str, list[str]] = {}
    before = outcome(compile(SOURCE, "till.py", "exec"))
    for place in range(len(list(mutants_of(ast.parse(SOURCE), SOURCE, "till.py")))):
        tree = ast.parse(SOURCE)
        mutant, _, apply = list(mutants_of(tree, SOURCE, "till.py"))[place]
        assert (mutant.function, mutant.nth, mutant.place) == ("Till.total", 0, 0)
        changes.setdefault(mutant.text, []).append(mutant.change)
        apply()
        assert outcome(compile(ast.fix_missing_locations(tree), "till.py", "exec")) != before, mutant
    assert changes == CHANGES


@pytest.mark.parametrize("above", ["", "import math\n\n\ndef other():\n    return 1\n"])
def test_a_mutant_is_known_by_its_text(tmp_path: Path, above: str) -> None:
    path = tmp_path / "till.py"
    path.write_text(above + SOURCE, encoding="utf-8")
    mutant = Mutant("till.py", "Till.total", "return total", 0, "None returned", 0)
    (code,) = [code for (name, _), code in mutated(mutant, path).items() if name == "Till.total"]
    assert code.co_firstlineno == 3 + above.count("\n")
    assert mutated(mutant._replace(text="return sum"), path) == {}
