"""`responsa eval intents`: trains a classifier of intents on this machine and measures it. The command needs no server."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import BaseModel, ConfigDict, Field

from responsa_lab.evaluation.dataset import lines
from responsa_lab.evaluation.metrics import fraction, round_off
from responsa_server.cli.output import EXIT_USAGE, CommandFailed, one_line, print_json, print_text
from responsa_server.domain.intents import Example, ExamplesUnfit

UTTERANCES = "utterances.jsonl"
Split = Literal["train", "val", "test"]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object: accuracy, oos_recall, kept.")]


class Utterance(BaseModel):
    """One line: a message, its intent ("oos" means out of scope) and the part of the data set to which the message belongs."""

    model_config = ConfigDict(frozen=True)

    text: Annotated[str, Field(min_length=1)]
    intent: Annotated[str, Field(min_length=1, max_length=200)]
    split: Split


def eval_intents(
    train: Annotated[
        Path,
        typer.Option(
            "--train",
            help=(
                f"A folder with {UTTERANCES}. The utterances whose split is `train` are for training. The "
                "utterances whose split is `val` set the threshold."
            ),
        ),
    ],
    test: Annotated[
        Path,
        typer.Option(
            "--test", help=f"A folder with {UTTERANCES}. The utterances whose split is `test` are measured."
        ),
    ],
    pairs: Annotated[
        int, typer.Option(min=0, help="The number of rows of the confusion table. 0 prints all rows.")
    ] = 20,
    json: AsJson = False,
) -> None:
    """Train on the train part of a folder, set the threshold that keeps 95 % of its val part, and measure on the test
    part of the other folder.

    accuracy: the share of in-scope utterances with the right intent, whatever their score. oos_recall: the share of
    out-of-scope utterances that the threshold rejects. kept: the share of in-scope utterances that the threshold keeps.
    """
    # These imports are late, because they load numpy, the model's runtime and the embedded parts, which the other measurements do not need.
    from responsa_local.commands.failures import reporting

    with reporting(json=json), ExitStack() as stack:
        from responsa_lab.evaluation.local import load_embedder, score_classifier
        from responsa_server.routing.classifier import TrainedClassifier
        from responsa_server.routing.training import train as trained

        learn, hold, ask = (
            utterances(train, "train"),
            utterances(train, "val", least=0),
            utterances(test, "test"),
        )
        embedder = load_embedder(stack)
        try:
            parameters = trained(learn, embedder, held_out=hold)
        except ExamplesUnfit as error:
            raise CommandFailed(f"{train} cannot be used for training: {error}", "", EXIT_USAGE) from None
        scores = TrainedClassifier(parameters, embedder).scores_sync([item.text for item in ask])
        classifier_scores = score_classifier(
            scores, parameters.labels, [item.label for item in ask], parameters.threshold
        )
        shares = {
            "accuracy": classifier_scores.accuracy,
            "oos_recall": classifier_scores.oos_recall,
            "kept": classifier_scores.kept,
        }
        if json:
            print_json({name: round_off(value) for name, value in shares.items()})
            return
        for name, value in shares.items():
            print_text(f"{name:<10}  {fraction(value)}")
        print_text(
            f"{classifier_scores.in_scope} in scope, {classifier_scores.out_of_scope} out of scope;"
            f" {len(learn)} for training, {len(hold)} for the threshold."
        )
        shown = classifier_scores.confusions[: pairs or None]
        if shown:
            print_text(f"\n{'count':>5}  {'is':<32}  taken for")
        for row in shown:
            print_text(f"{row.count:>5}  {one_line(row.right, 32):<32}  {one_line(row.chosen, 32)}")
        if len(shown) < len(classifier_scores.confusions):
            print_text(
                f"{len(classifier_scores.confusions) - len(shown)} more pairs; --pairs 0 shows all of them."
            )


def utterances(folder: Path, split: Split, *, least: int = 1) -> Sequence[Example]:
    """The utterances of one part of the data set, in order.

    Raises: CommandFailed: the file is missing, the part has fewer than `least` utterances, or a line cannot be read.
    The message names the file or the line.
    """
    path = folder / UTTERANCES
    examples = [
        Example(line.text, line.intent)
        for _, line in lines(path, Utterance, "utterance", f"Name a folder with {UTTERANCES}.")
        if line.split == split
    ]
    if len(examples) < least:
        raise CommandFailed(f'{path} holds no utterances of split "{split}".', "", EXIT_USAGE)
    return examples
