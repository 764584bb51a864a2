"""The one training loop: on one processor, in several processes, on several machines.

Hugging Face accelerate says which process this is and carries gradients between them; everything
else is plain torch. Every process draws the same order of samples and takes its share of each
batch, so that several processes do what one would: gradients are summed with the weight that each
share has in the batch. Batch norms see their process's share alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from edgepack.errors import ModelError, UsageError
from edgepack.model.checkpoint import Checkpoint
from edgepack.model.shares import Shares, accelerator, open_log


class Objective(Protocol):
    """What is made small: the mean loss of a module over the samples at some places."""

    def __call__(self, module: torch.nn.Module, places: Sequence[int], /) -> torch.Tensor:
        """Return one number."""


class Told(Protocol):
    """Who is told how training goes; `base.Events` is one."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Say that so many steps are done."""

    def figures(self, what: str, values: Mapping[str, float]) -> None:
        """Say what loss and metric are now."""

    def note(self, text: str) -> None:
        """Say one sentence."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; the learning rate falls to zero along half a cosine.

    Loshchilov and Hutter, SGDR (ICLR 2017, arXiv 1608.03983), without restarts.

    Attributes:
        epochs: times that the samples are gone through.
        learning_rate: the highest.
        batch_size: samples a step, of all processes and all accumulated parts together.
        optimizer: what makes the steps.
        weight_decay: decoupled from the gradient (AdamW), or a part of it (SGD).
        warmup: share of the steps over which the learning rate rises from zero.
        clip: largest norm of the gradient; 0 for any.
        accumulate: parts that a batch is computed in, to save memory.
        precision: what products are computed in; weights stay float32.
        hold_out: share of the samples that is kept from training and judges each epoch.
        patience: epochs without a better loss on what was held out before training stops; 0 never.
        threads: of one process; results are repeatable for one number of them.
        checkpoint_every: steps between checkpoints; 0 for none.
        log: folder for TensorBoard, or nothing.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    optimizer: Literal["adam", "sgd"] = "adam"
    weight_decay: float = 0.0
    warmup: float = 0.0
    clip: float = 0.0
    accumulate: int = 1
    precision: Literal["float32", "bf16"] = "float32"
    hold_out: float = 0.0
    patience: int = 0
    threads: int = 1
    checkpoint_every: int = 0
    log: str = ""

    def rate(self, step: int, total: int) -> float:
        """Return the learning rate of a step."""
        rising = math.ceil(self.warmup * total)
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        return self.learning_rate * (1 + math.cos(math.pi * (step - rising) / (total - rising))) / 2


@dataclass(frozen=True)
class Task:
    """What a module is trained for.

    Attributes:
        name: what progress is told under.
        count: samples there are.
        objective: what is made small.
        score: measures a module on samples, for the eye and the log; in percent, or as it likes.
        extra: a module that is trained along and thrown away, such as projections.
        after: called with the module after each step, such as to keep zeros zero.
    """

    name: str
    count: int
    objective: Objective
    score: Callable[[torch.nn.Module, Sequence[int]], Mapping[str, float]] | None = None
    extra: torch.nn.Module | None = None
    after: Callable[[torch.nn.Module], None] | None = None


@dataclass
class Trained:
    """How training went.

    Attributes:
        steps: that were made.
        losses: mean loss of each epoch, over the samples trained on.
        held: loss on what was held out after each epoch; empty where nothing was.
        best: the epoch, from 1, whose weights were kept; the last without a hold-out.
    """

    steps: int = 0
    losses: list[float] = field(default_factory=list)
    held: list[float] = field(default_factory=list)
    best: int = 0


def fit(
    module: torch.nn.Module,
    task: Task,
    schedule: Schedule,
    told: Told,
    resume: Path | None = None,
) -> Trained:
    """Train a module in place, from torch's seed as it stands; it ends in evaluation mode.

    Args:
        module: what is trained; all its floating point parameters.
        task: what for.
        schedule: how.
        told: hears of progress.
        resume: folder of checkpoints; what lies there is gone on from.

    Raises:
        UsageError: E223 when there are too few samples for the schedule.
        ModelError: E434 when the loss is no longer a number.
        HostError: E325 when a log cannot be written, as without tensorboard.
    """
    return _Loop(module, task, schedule, told, resume).run()


class _Loop:
    """One training: its order of samples, its steps, its checkpoints."""

    def __init__(
        self,
        module: torch.nn.Module,
        task: Task,
        schedule: Schedule,
        told: Told,
        resume: Path | None,
    ) -> None:
        self._module, self._task, self._schedule, self._told = module, task, schedule, told
        self._crew = accelerator(schedule.precision, schedule.log)
        self._shares = Shares(self._crew)
        self._all = torch.nn.ModuleDict({"model": module})
        if task.extra is not None:
            self._all["extra"] = task.extra
        self._parameters = [p for p in self._all.parameters() if p.is_floating_point()]
        self._optimizer = _optimizer(self._parameters, schedule)
        # Noise is drawn unevenly by processes with uneven shares; the order must stay one.
        self._draws = torch.Generator().set_state(torch.get_rng_state())
        self._shares.seed()
        shuffled = self._drawn(task.count) if schedule.hold_out else list(range(task.count))
        held = round(schedule.hold_out * task.count)
        self._held, self._used = shuffled[:held], shuffled[held:]
        if not self._used or (schedule.hold_out and not self._held):
            why = f"there are {task.count}, of which {held} are held out"
            raise _too_few(why, "give more samples, or change `hold_out`")
        rounds = math.ceil(len(self._used) / schedule.batch_size)
        # A last batch of one has no variance, on which batch norm fails; it is left out.
        self._rounds = rounds - (rounds > 1 and len(self._used) % schedule.batch_size == 1)
        self._total = schedule.epochs * self._rounds
        self._saved = (
            Checkpoint(resume, self._all, self._optimizer, told.note)
            if resume is not None and schedule.checkpoint_every
            else None
        )

    def run(self) -> Trained:
        """Train to the end, or until what was held out gets no better."""
        torch.set_num_threads(self._schedule.threads)
        state = self._resumed() or {"order": [], "sum": 0.0, "trained": asdict(Trained())}
        trained = Trained(**state["trained"])
        if self._schedule.log:
            open_log(self._crew, self._task.name)
        self._all.train()
        while trained.steps < self._total:
            turn = trained.steps % self._rounds
            if turn == 0:
                state["order"], state["sum"] = self._drawn(len(self._used)), 0.0
            first = turn * self._schedule.batch_size
            chosen = state["order"][first : first + self._schedule.batch_size]
            state["sum"] += self._step([self._used[i] for i in chosen], trained.steps)
            trained.steps += 1
            self._told.progress(self._task.name, trained.steps, self._total)
            if turn + 1 == self._rounds:
                trained.losses.append(state["sum"] / self._rounds)
                if self._epoch_ends(trained):
                    break
            self._keep(trained, state)
        if self._held and trained.best < len(trained.losses):
            if self._saved:
                self._saved.restore_best()
            else:
                self._all.load_state_dict(self._best)
        self._end()
        return trained

    def _drawn(self, count: int) -> list[int]:
        """Return numbers in an order that is the same in every process."""
        order: list[int] = torch.randperm(count, generator=self._draws).tolist()
        return order

    def _resumed(self) -> dict[str, Any] | None:
        """Take up the checkpoint that every process finds; None where there is no such one."""
        if self._saved is None:
            return None
        found, size = self._saved.read(), self._shares.size
        step = int(found.state["trained"]["steps"]) if found else 0
        if found and found.state["processes"] != size:
            written = found.state["processes"]
            self._told.note(f"the checkpoint is of {written} processes, not {size}; it is left")
            step = 0
        if not self._shares.agree(step):
            self._told.note("the machines hold different checkpoints; training begins anew")
            return None
        if found is None or step == 0:
            return None
        self._saved.fill(found)
        self._draws.set_state(found.tensors["generator order"])
        self._shares.take_noise(found.tensors["generator noise"])
        self._told.note(f"{self._task.name} goes on from step {step} of {self._total}")
        return found.state

    def _step(self, places: Sequence[int], step: int) -> float:
        """Make one step and return the mean loss of its batch."""
        schedule = self._schedule
        for group in self._optimizer.param_groups:
            group["lr"] = schedule.rate(step, self._total)
        self._optimizer.zero_grad()
        whole = torch.zeros(())
        mine = self._shares.mine(places)
        for part in range(schedule.accumulate):
            if share := mine[part :: schedule.accumulate]:
                # Each share weighs what it has of the batch, whoever computes it.
                loss = self._loss(share) * (len(share) / len(places))
                self._crew.backward(loss)
                whole = whole + loss.detach()
        value = float(self._shares.sum(whole))
        self._shares.gradients(self._parameters)
        if not math.isfinite(value):
            self._end()
            raise _diverged(step, schedule)
        if schedule.clip:
            torch.nn.utils.clip_grad_norm_(self._parameters, schedule.clip)
        self._optimizer.step()
        if self._task.after is not None:
            with torch.no_grad():
                self._task.after(self._module)
        if schedule.log:
            rate = schedule.rate(step, self._total)
            self._crew.log({"loss": value, "learning_rate": rate}, step=step)
        return value

    def _loss(self, places: Sequence[int]) -> torch.Tensor:
        try:
            with self._crew.autocast():
                return self._task.objective(self._module, places).float()
        except ValueError as problem:
            if "more than 1 value per channel" not in str(problem):
                raise
            why = "a batch norm is left with one, which has no variance"
            fix = "raise `batch_size`, lower `accumulate`, or start fewer processes"
            raise _too_few(why, fix) from problem

    def _epoch_ends(self, trained: Trained) -> bool:
        """Judge an epoch; say whether training should stop."""
        epoch, figures = len(trained.losses), {"loss": trained.losses[-1]}
        self._shares.buffers(self._all)
        trained.best = epoch if not self._held else trained.best
        if self._held:
            figures |= self._judged()
            trained.held.append(figures["held-out loss"])
            if trained.held[-1] <= min(trained.held):
                trained.best = epoch
                self._keep_best()
        self._told.figures(self._task.name, {"epoch": epoch, **figures})
        if self._schedule.log:
            self._crew.log(figures, step=trained.steps)
        patience = self._schedule.patience
        return bool(self._held and patience and epoch - trained.best >= patience)

    def _judged(self) -> dict[str, float]:
        """Measure the module on what was held out."""
        size, mine = self._schedule.batch_size, self._shares.mine(self._held)
        self._all.eval()
        total = torch.zeros(())
        with torch.no_grad():
            for first in range(0, len(mine), size):
                places = mine[first : first + size]
                total += self._loss(places) * len(places)
            with self._crew.autocast():
                scored = self._task.score(self._module, self._held) if self._task.score else {}
        self._all.train()
        return {"held-out loss": float(self._shares.sum(total)) / len(self._held), **scored}

    def _keep_best(self) -> None:
        if self._saved:
            if self._crew.is_local_main_process:
                self._saved.write_best()
            self._crew.wait_for_everyone()
        else:
            self._best = {k: v.detach().clone() for k, v in self._all.state_dict().items()}

    def _keep(self, trained: Trained, state: dict[str, Any]) -> None:
        every = self._schedule.checkpoint_every
        if self._saved and trained.steps % every == 0 and trained.steps < self._total:
            self._shares.buffers(self._all)
            generators = {"order": self._draws.get_state(), "noise": self._shares.noises()}
            if self._crew.is_local_main_process:
                told = {**state, "processes": self._shares.size, "trained": asdict(trained)}
                self._saved.write(told, generators)
            self._crew.wait_for_everyone()

    def _end(self) -> None:
        self._shares.buffers(self._all)
        self._all.zero_grad(set_to_none=True)
        self._all.eval()
        if self._schedule.log:
            self._crew.end_training()


def _optimizer(parameters: list[torch.nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    rate, decay = schedule.learning_rate, schedule.weight_decay
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=0.9, nesterov=True, weight_decay=decay)
    return torch.optim.AdamW(parameters, rate, weight_decay=decay)


def _diverged(step: int, schedule: Schedule) -> ModelError:
    return ModelError(
        "E434",
        f"training diverged: the loss is no number at step {step}",
        why=f"the learning rate is {schedule.learning_rate:g}",
        fix="lower `learning_rate`, and look for NaN or huge values in the training data",
    )


def _too_few(why: str, fix: str) -> UsageError:
    return UsageError("E223", "there are too few samples to train so", why=why, fix=fix)
