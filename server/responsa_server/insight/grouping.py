"""Groups questions by their vectors: each joins the closest group, or begins one (leader clustering, with the mean of a
group in place of its first member; Hartigan 1975, chapter 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from responsa_server.domain.insight import QuestionGroup

LEAST_COSINE: Final = 0.65
"""A question joins a group from this cosine with its mean on. Chosen on BANKING77, see docs/insight.md."""

Float = npt.NDArray[np.float32]


class Grouping:
    """Implements `domain.insight.Grouping`. new_id: makes the id of a new group."""

    def __init__(self, new_id: Callable[[], UUID], least_cosine: float = LEAST_COSINE) -> None:
        self._new_id = new_id
        self._least = least_cosine

    def __call__(
        self, groups: Sequence[QuestionGroup], questions: Sequence[tuple[UUID, bytes]]
    ) -> tuple[Sequence[UUID], Sequence[QuestionGroup]]:
        all_groups, size = list(groups), len(groups)
        if not questions:
            return (), ()
        sums = np.empty((size + len(questions), len(questions[0][1]) // 4), dtype=np.float32)
        for index, group in enumerate(all_groups):
            sums[index] = floats(group.vector)
        means = np.empty_like(sums)
        means[:size] = unit(sums[:size])
        chosen: list[int] = []
        for turn_id, data in questions:
            vector = floats(data)
            cosines = means[:size] @ vector
            index = int(cosines.argmax()) if size else -1
            if index < 0 or cosines[index] < self._least:
                all_groups.append(QuestionGroup(self._new_id(), data, data, turn_id))
                sums[size] = means[size] = vector
                chosen.append(size)
                size += 1
                continue
            sums[index] += vector
            means[index] = unit(sums[index])
            if vector @ means[index] > floats(all_groups[index].central) @ means[index]:
                all_groups[index].central, all_groups[index].central_turn = data, turn_id
            chosen.append(index)
        for index in set(chosen):
            all_groups[index].vector = as_bytes(sums[index])
        return [all_groups[index].id for index in chosen], [
            all_groups[index] for index in sorted(set(chosen))
        ]


def middle(vectors: Float) -> tuple[bytes, int]:
    """The sum of vectors, and the row that is closest to it. vectors: shape [n, dimensions], n > 0."""
    total = vectors.sum(axis=0)
    return as_bytes(total), int((vectors @ total).argmax())


def floats(data: bytes) -> Float:
    """The vector of these bytes."""
    return np.frombuffer(data, dtype="<f4")


def as_bytes(vector: Float) -> bytes:
    """A vector as float32 in little-endian order."""
    return vector.astype("<f4").tobytes()


def unit(vectors: Float) -> Float:
    """Vectors of length one; of length zero those that have no direction."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
