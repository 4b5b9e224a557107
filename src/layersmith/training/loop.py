"""The loop: `train` a target beside its baseline, `runs` one model epoch by epoch."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from layersmith.errors import UsageError
from layersmith.probe.surroundings import preserved, seed_all
from layersmith.training import scoring, weights
from layersmith.training.baseline import baseline_for, parameter_count
from layersmith.training.choosing import chosen
from layersmith.training.datasets import Data, Dataset, load
from layersmith.training.fitting import Fitted, Target, model_for, placement
from layersmith.training.report import Epoch, Run, TrainReport
from layersmith.training.split import Rows, Split, split

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
OnEpoch = Callable[[Epoch], None]

LEARNING_RATE = 3e-3


def adamw(learning_rate: float = LEARNING_RATE) -> MakeOptimizer:
    """The usual optimizer, as `train` takes it: AdamW, in one fused kernel where it can be.

    Raises:
        UsageError: for a learning rate that is not positive.
    """
    if not learning_rate > 0:
        raise UsageError(f"the learning rate must be more than 0, not {learning_rate}")

    def make(parameters: Iterable[nn.Parameter]) -> Optimizer:
        trained = list(parameters)
        fused = all(p.is_floating_point() for p in trained)  # the kernel knows no complex numbers
        return torch.optim.AdamW(trained, lr=learning_rate, fused=fused)

    return make


@dataclass(frozen=True, slots=True)
class Plan:
    """What is the same for a model and its baseline."""

    epochs: int
    batch_size: int
    optimizer: MakeOptimizer
    seed: int

    def __post_init__(self) -> None:
        """Raise UsageError where nothing could be learned."""
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")


def train(  # noqa: PLR0913 - the options of one verb
    target: Target | str,
    data: Data = "digits",
    *,
    epochs: int = 30,
    batch_size: int = 64,
    optimizer: MakeOptimizer | None = None,
    seed: int = 0,
    validation_share: float = 0.25,
    baseline: bool = True,
    output: Path | str | None = None,
    on_epoch: OnEpoch | None = None,
) -> TrainReport:
    """Train a copy of the target on the data, and beside it a torch.nn baseline of equal size.

    Ctrl-C ends it and keeps what there is; a loss that is no longer finite ends that model's run.

    Args:
        target: a module, a class, a function that builds a module, or the text of one ("layers.py::Block");
            see `fitting.model_for` for how it is made to fit the data.
        data: "digits", "diabetes" or your own `(x, y)`.
        epochs: passes over the training rows.
        batch_size: at most so many rows a step.
        optimizer: takes the parameters; `adamw()` by default.
        seed: of the split, the weights, the order of the rows and dropout.
        validation_share: of the rows, set aside; they choose the best epoch.
        baseline: whether to train one.
        output: a `.safetensors` file for the best weights.
        on_epoch: called with the model's record after each epoch.

    Raises:
        UsageError: for unknown data, a target that does not fit it, or options that make no sense.

    Example:
        >>> from torch import nn
        >>> report = train(lambda: nn.Linear(64, 10), epochs=2)
        >>> report.metric, len(report.history), report.run.parameters
        ('accuracy', 2, 650)
    """
    plan = Plan(epochs, batch_size, optimizer or adamw(), seed)
    dataset = load(data)
    parts = split(dataset, validation_share=validation_share, seed=seed)
    with preserved(), torch.enable_grad():
        source = chosen(target) if isinstance(target, str) else target
        seed_all(seed)  # after the import, which may draw numbers the first time only
        fitted = model_for(dataset, source)
        _ensure_trainable(fitted)
        if output is not None:
            weights.ensure_savable(fitted.module, Path(output))
        seed_all(seed)
        plain = baseline_for(fitted.module, dataset) if baseline else None
        latest, interrupted = _side_by_side(fitted, plain, parts, plan, on_epoch)
    report = _report(latest, fitted, dataset, parts, seed=seed, interrupted=interrupted)
    return report if output is None else weights.saved(report, Path(output))


def runs(module: nn.Module, parts: Split, plan: Plan, *, name: str) -> Iterator[Run]:
    """The model's run so far, after each epoch of training it in place.

    Once the loss is no longer finite the model is left alone and its run stays as it is.
    """
    parts = parts.like(placement(module))
    optimizer = plan.optimizer([p for p in module.parameters() if p.requires_grad])
    generator = torch.Generator().manual_seed(plan.seed)
    run = Run(name, parameter_count(module))
    for _ in range(plan.epochs):
        if not run.diverged_at:
            run = _after_epoch(run, module, optimizer, parts, plan, generator)
        yield run


def _ensure_trainable(fitted: Fitted) -> None:
    if not any(p.requires_grad for p in fitted.module.parameters()):
        raise UsageError(f"{fitted.name} has nothing to train: no parameter of it asks for a gradient")


def _side_by_side(
    fitted: Fitted, plain: nn.Module | None, parts: Split, plan: Plan, on_epoch: OnEpoch | None
) -> tuple[tuple[Run, ...], bool]:
    """Train both in turn, an epoch each, so that Ctrl-C at any time leaves runs of equal length."""
    models = [(fitted.name, fitted.module)] + ([("baseline", plain)] if plain else [])
    latest = tuple(Run(name, parameter_count(module)) for name, module in models)
    seed_all(plan.seed)  # dropout then does not depend on how the baseline was initialised
    try:
        for latest in zip(*(runs(module, parts, plan, name=name) for name, module in models), strict=True):
            if on_epoch is not None and not latest[0].diverged_at:
                on_epoch(latest[0].history[-1])
    except KeyboardInterrupt:
        return latest, True
    return latest, False


def _report(
    latest: tuple[Run, ...], fitted: Fitted, data: Dataset, parts: Split, *, seed: int, interrupted: bool
) -> TrainReport:
    """The report, with the model's best weights put back into it."""
    run, *beside = latest
    if run.best is not None:
        fitted.module.load_state_dict(run.weights)
    return TrainReport(
        run=run,
        baseline=beside[0] if beside else None,
        model=fitted.module.eval(),
        scaling=parts.scaling,
        arrangement=fitted.arrangement,
        data=data.name,
        task=data.task,
        rows_train=len(parts.train),
        rows_validation=len(parts.validation),
        seed=seed,
        interrupted=interrupted,
    )


def _after_epoch(
    run: Run, module: nn.Module, optimizer: Optimizer, parts: Split, plan: Plan, generator: torch.Generator
) -> Run:
    """The run with one more record, or with the step at which it diverged."""
    start = time.perf_counter()
    rows = parts.train.shuffled(generator)
    losses, outputs = _descend(module, optimizer, rows.batches(plan.batch_size))
    wrong = (~losses.isfinite()).nonzero()
    seconds = time.perf_counter() - start
    answers = _answers(module.eval(), parts.validation.batches(plan.batch_size))
    record = Epoch(
        epoch=len(run.history) + 1,
        train_loss=float(scoring.loss(outputs, rows.y)),
        validation_loss=float(scoring.loss(answers, parts.validation.y)),
        train_metric=scoring.metric(outputs, rows.y),
        validation_metric=scoring.metric(answers, parts.validation.y),
        seconds=seconds,
    )
    if len(wrong) or not all(map(math.isfinite, dataclasses.astuple(record))):
        step = int(wrong[0]) + 1 if len(wrong) else len(losses)
        return dataclasses.replace(run, diverged_at=len(run.history) * len(losses) + step)
    longer = dataclasses.replace(run, history=(*run.history, record))
    if run.best is not None and run.best.rank >= record.rank:
        return longer
    return dataclasses.replace(longer, best=record, weights=copy.deepcopy(module.state_dict()))


def _descend(module: nn.Module, optimizer: Optimizer, batches: list[Rows]) -> tuple[Tensor, Tensor]:
    """One step a batch; the loss of each step [steps] and the outputs of each row, before the step on it."""
    module.train()
    losses, outputs = [], []
    for batch in batches:
        optimizer.zero_grad()
        output = _called(module, batch)
        loss = scoring.loss(output, batch.y)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        outputs.append(output.detach())
    return torch.stack(losses), torch.cat(outputs)  # read once an epoch: no step waits for the device


@torch.no_grad()
def _answers(module: nn.Module, batches: list[Rows]) -> Tensor:
    return torch.cat([_called(module, batch) for batch in batches])


def _called(module: nn.Module, batch: Rows) -> Tensor:
    """The outputs as [rows, outputs]: a model of one output may leave that dimension out."""
    output: Tensor = module(batch.x)
    return output.reshape(len(batch), -1)
