"""The positions of keys in a TOML text."""

from __future__ import annotations

from responsa_server.agents.config.problems import positions

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
