"""What the graph of all-MiniLM-L6-v2 and its users must agree on."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]

DIMENSIONS: Final = 384
BUILDER_VERSION: Final = 1
"""This version is part of the names of the vectors. Raise it whenever the graph of `minilm_graph.py` computes other vectors."""
