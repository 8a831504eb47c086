"""Labelled messages for a node that decides."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from responsa_lab.optimising.data import LabelledMessage, read
from responsa_lab.optimising.nodes import Answering, TunedNode
from responsa_lab.optimising.record import Record
from responsa_server.agents.config.content import Content
from responsa_server.agents.nodes.deciding import OUT_OF_SCOPE


class Messages:
    """The messages of a file. data: the messages. Raises CommandFailed, see `data.read`."""

    def __init__(self, node: TunedNode, path: Path, known: Collection[str], metric: str) -> None:
        """known: as for `data.read`. metric: what decides, `right` or `refused`."""

        def wrong(message: LabelledMessage) -> str:
            has = f"has the label “{message.label}”; the labels are {', '.join(node.labels)}"
            return "" if message.label in node.labels else has

        self.data = read(path, LabelledMessage, wrong, known)
        self._node = node
        self._metric = metric
        self._label = {item.text: item.label for item in (*self.data.examples, *self.data.chosen)}

    async def score(self, text: str, label: str) -> float:
        """Whether a label for a message is good by the metric that decides."""
        return judge(self._label[text], label)[self._metric]

    async def measure(self, content: Content, _: str, record: Record) -> Mapping[str, Sequence[bool]]:
        """Whether a version is good on each message of the part `test`, by metric. Raises Stopped."""
        node = Answering(content, self._node.name, record)
        outputs = await asyncio.gather(*(node.output(item.text) for item in self.data.test))
        each = [
            judge(item.label, self._node.label(output))
            for item, output in zip(self.data.test, outputs, strict=True)
        ]
        return {metric: [item[metric] for item in each] for metric in ("right", "refused")}


def judge(right: str, label: str) -> Mapping[str, bool]:
    """Whether a label is good, by metric. right: the right label. label: "" if the model's answer had none."""
    refused = bool(label) and (label == OUT_OF_SCOPE) == (right == OUT_OF_SCOPE)
    return {"right": label == right, "refused": refused}
