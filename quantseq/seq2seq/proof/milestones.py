"""Where a training on a toy task stands now and then: losses, exact match and three samples.

Owns what is looked at, when, and the file that keeps it. Does not know how training goes on.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from quantseq.errors import CorruptFileError, ModelFileError
from quantseq.files import read_json, write_json
from quantseq.seq2seq.decoding import greedy
from quantseq.seq2seq.model import Seq2Seq
from quantseq.seq2seq.proof.mastery import free_running, teacher_forced_ids
from quantseq.seq2seq.proof.toys import EVALUATION, ToySource
from quantseq.seq2seq.tokens import Batch
from quantseq.seq2seq.training import evaluate_loss

MILESTONE = 1000
"""Batches between two looks at where a training stands, as in the tutorial."""


@dataclass(frozen=True)
class Milestone:
    """Where a training stands before some batch.

    Parameters
    ----------
    batch : int
        Number of batches seen.
    loss : float
        Teacher-forced loss of the training's own kind (masked or not), mean over 5 fresh batches.
    masked : bool
        Whether `loss` leaves padding out.
    free_running_loss : float
        The same with the decoder fed its own most probable tokens; padding is always left out,
        because behind its own EOS a decoder is fed what it never meets in training.
    exact_match : float
        Free-running, on the same sequences.
    samples : list of dict
        Three sequences: ``input``, ``teacher_forced`` (best id at every step, given the truth before
        it) and ``free_running``, EOS included where it was emitted.
    """

    batch: int
    loss: float
    masked: bool
    free_running_loss: float
    exact_match: float
    samples: list[dict[str, list[int]]]


class MilestoneLog:
    """Writes down where training stands, in a file that a resumed training finds again.

    The file also says which training it belongs to: the state knows no task.
    """

    def __init__(
        self,
        path: Path,
        meta: dict[str, Any],
        model: Seq2Seq,
        source: ToySource,
        masked: bool,
        tell: Callable[[Milestone], None] | None,
    ) -> None:
        self.path, self.meta, self.model, self.masked, self.tell = path, meta, model, masked, tell
        fresh = replace(source, stream=EVALUATION)
        self.batches = [fresh.batch(step) for step in range(5)]
        self.stones: list[Milestone] = []

    def load(self) -> None:
        """Read the stones that an earlier session of the same training reached."""
        try:
            record = read_json(self.path)
            mine = record["training"] == self.meta
            self.stones = [Milestone(**stone) for stone in record["milestones"]]
        except (CorruptFileError, KeyError, TypeError) as error:
            raise ModelFileError(
                f"{str(self.path)!r} does not say which training it belongs to: {error!r}. "
                "Train without resuming."
            ) from error
        if not mine:
            raise ModelFileError(
                f"The training state in {str(self.path.parent)!r} belongs to {record['training']}, "
                f"not to {self.meta}. Ask for the same again, or train without resuming."
            )

    def reach(self, batch: int) -> None:
        """Note a milestone, if `batch` is one that is not noted yet."""
        if batch % MILESTONE or any(stone.batch >= batch for stone in self.stones):
            return
        loss = evaluate_loss(self.model, self.batches, masked=self.masked)
        free_loss = evaluate_loss(self.model, self.batches, free_running=True)
        exact = torch.cat([free_running(self.model, one) for one in self.batches])
        samples = _three_samples(self.model, self.batches[0])
        share = float(exact.double().mean())
        stone = Milestone(batch, loss, self.masked, free_loss, share, samples)
        self.stones.append(stone)
        stones = [asdict(stone) for stone in self.stones]
        write_json(self.path, {"training": self.meta, "milestones": stones})
        if self.tell is not None:
            self.tell(stone)


def _three_samples(model: Seq2Seq, batch: Batch) -> list[dict[str, list[int]]]:
    few = batch.rows(torch.arange(3))
    forced = teacher_forced_ids(model, few)
    free = greedy(model, few, max_length=few.source.shape[0] + 2)
    samples = []
    for row in range(3):
        length, answered = int(few.source_lengths[row]), int(free.lengths[row, 0])
        samples.append(
            {
                "input": few.source[:length, row].tolist(),
                "teacher_forced": forced[: length + 1, row].tolist(),
                "free_running": free.ids[row, 0, : answered + 1].tolist(),
            }
        )
    return samples
