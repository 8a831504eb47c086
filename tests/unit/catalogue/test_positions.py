"""The positions of keys in a TOML text."""

from __future__ import annotations

from responsa_server.agents.config.problems import Problem, placed, positions

TEXT = """\
# ü before a key
a = 1
"b c".d = 2
[n]
x.y = { k = "v", z = [ { q = 1 }, # one
  2 ] }
[[g.e]]
f = "1"
[[g.e]]
f = "2"
[g.e.h]
i = 3
"""


def test_each_key_and_element_has_its_line_and_column() -> None:
    assert positions(TEXT) == {
        ("a",): (2, 1),
        ("b c",): (3, 1),
        ("b c", "d"): (3, 1),
        ("n",): (4, 2),
        ("n", "x"): (5, 1),
        ("n", "x", "y"): (5, 1),
        ("n", "x", "y", "k"): (5, 9),
        ("n", "x", "y", "z"): (5, 18),
        ("n", "x", "y", "z", 0): (5, 24),
        ("n", "x", "y", "z", 0, "q"): (5, 26),
        ("n", "x", "y", "z", 1): (6, 3),
        ("g", "e"): (7, 3),
        ("g", "e", 0): (7, 3),
        ("g", "e", 0, "f"): (8, 1),
        ("g", "e", 1): (9, 3),
        ("g", "e", 1, "f"): (10, 1),
        ("g", "e", 1, "h"): (11, 2),
        ("g", "e", 1, "h", "i"): (12, 1),
    }


def test_a_problem_gets_the_place_of_its_key_or_of_what_is_around_it() -> None:
    problems = [
        Problem("x", "m", ("n", "x", "y", "gone")),
        Problem("x", "m", ("nowhere",)),
        Problem("other", "m", ("a",)),
        Problem("x", "m", ("a",), line=77),
    ]
    found = placed(problems, {"x": (TEXT, 10)})
    assert [(one.line, one.column) for one in found] == [(14, 1), (None, None), (None, None), (77, None)]


def test_a_key_reads_as_people_write_it() -> None:
    assert Problem("x", "m", ("graph", "edges", 3, "when")).path == "graph.edges[3].when"
