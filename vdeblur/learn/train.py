"""The training loop: batches in, checkpoints, figures and scores out.

A run is a function of its settings and its seed. Batches depend on (seed, step) alone and all that steps
change is in the checkpoint, so a run that was stopped anywhere and started again with the same output folder
equals one that was not, bit for bit on a CPU. Several processes (torchrun) share the gradient of every step.

In the output folder: `last.pt` to go on from, `best.pt` with the averaged weights that scored best, and
`log.csv`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from vdeblur.errors import VdeblurError
from vdeblur.learn import checkpoint, loss
from vdeblur.learn.adversary import Adversary
from vdeblur.learn.events import Event, Figures, Judging, Scored, Started, Stepped
from vdeblur.learn.judge import Judge, Score, others_judge
from vdeblur.learn.log import Log
from vdeblur.learn.optimise import Scaled, follow, keep_at, make_optimizers, rate_at, shared
from vdeblur.learn.settings import Settings
from vdeblur.models.contract import DeblurNetwork, Scales

FIRST_SCALE = 1024.0  # of the loss in float16; DeepDeblur's
MOST_SKIPPED = 30  # in a row; a loss scale falls from its first value to almost nothing in fewer

Batches = Callable[[int], Iterator[tuple[Tensor, Tensor]]]
"""From a step on: (blurred, sharp) on the device, Nx3xHxW float32 in [0, 1]; `accumulate` of them a step."""


@dataclass(slots=True)
class Outcome:
    """Where a run ended: the averaged network and a few counts; `stopped` before its last step.

    `best_step` is 0 where nothing scored better than the weights that the run began with.
    """

    network: DeblurNetwork
    steps: int
    skipped: int
    cpu_s: float
    stopped: bool
    best_db: float | None
    best_step: int | None


def train(
    network: DeblurNetwork,
    settings: Settings,
    batches: Batches,
    judge: Judge | None,
    output: Path,
    *,
    device: torch.device | None = None,
    precision: str = "fp32",
    tell: Callable[[Event], None] = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
    notes: tuple[str, ...] = (),
    kept: Mapping[str, Any] = MappingProxyType({}),
) -> Outcome:
    """Train `network` in place, going on from the output folder's last checkpoint where there is one.

    judge       scores the averaged network, before the first step too; only process 0 calls it
    precision   of the network's own arithmetic: "fp32", "bf16" or "fp16"; weights and losses are float32
    stop        asked after every step; the run then saves and ends
    kept        beside the settings: those of the network, and what is learnt from

    Raises InputError for a checkpoint of another network, VdeblurError where steps come to nothing.
    """
    s, last, best = settings, output / "last.pt", output / "best.pt"
    device = device or torch.device("cpu")
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    if rank != 0:
        tell = lambda event: None  # noqa: E731
    network = network.train().to(device)
    if s.channels_last:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval().requires_grad_(False)
    weights = list(network.parameters())
    optimizers = make_optimizers(network, s)
    scaler = torch.amp.GradScaler(device.type, FIRST_SCALE, enabled=precision == "fp16")
    adversary = Adversary(s.rate, device) if s.adversarial else None
    at = checkpoint.Count()
    learner = checkpoint.Learner(network, average, optimizers, scaler, adversary, at)
    plain = checkpoint.plain(s) | dict(kept)
    changed: dict[str, tuple[Any, Any]] = {}
    if last.exists():
        changed = learner.restore(last, plain)
        notes += tuple(f"{key} is {now} now, it was {before}" for key, (before, now) in changed.items())
    model = shared(Scaled(network), device)

    output.mkdir(parents=True, exist_ok=True)
    with Log(output, at.step, s.tensorboard) if rank == 0 else nullcontext() as log:
        tell(Started(at.step, s.steps, notes if log is None else notes + log.notes))

        def scored(subject: DeblurNetwork, step: int) -> Score:
            assert judge is not None
            tell(Judging(step))
            score = judge(subject)
            is_best = score.pairs > 0 and (at.best_db is None or score.gain_db > at.best_db)
            if is_best:
                at.best_db, at.best_step = score.gain_db, step
                state = {"average": subject.state_dict(), "step": step, "gain_db": score.gain_db}
                checkpoint.save(best, state | {"settings": plain})
            tell(Scored(step, score, is_best))
            return score

        def saved() -> None:
            if rank == 0:
                checkpoint.save(last, learner.state() | {"settings": plain})

        def judged() -> None:
            if judge is None or log is None or at.judged_step == at.step:
                return
            score = scored(average, at.step)
            figures = {"gain_db": score.gain_db, "worst_gain_db": score.worst_db, "mean_shift": score.shift}
            log.write(at.step, figures)
            at.judged_step = at.step
            if at.step:
                saved()

        if judge is not None and log is not None and at.step < s.steps and others_judge(changed):
            at.best_db = None
            if best.exists():  # its score was one by other pairs: what is to beat it needs one by the same
                earlier = copy.deepcopy(average)
                earlier.load_state_dict(checkpoint.load(best)["average"])
                scored(earlier, at.best_step or 0)
        if at.step % s.validate_every == 0 or at.step == s.steps:
            judged()  # before the first step, and where a run was ended while it was judged
        feed = batches(at.step)
        coming: tuple[Tensor, Tensor] | None = None
        before_cpu_s = at.cpu_s - time.process_time()
        lap, lap_steps, waited = time.perf_counter(), 0, 0.0
        total = torch.tensor(at.loss_sum, device=device, dtype=_widest(device))
        stopped = False

        while at.step < s.steps and not stopped:
            rate = s.rate * rate_at(at.step, s)
            for group in (group for optimizer in optimizers for group in optimizer.param_groups):
                group["lr"] = rate
            if adversary is not None:
                adversary.set_rate(rate)
            torch.manual_seed((s.seed * 1_000_003 + at.step) * 64 + rank)  # dropout, if there is any

            for part in range(s.accumulate):
                blurred, sharp = coming or next(feed)
                is_last = part == s.accumulate - 1
                with nullcontext() if ranks == 1 or is_last else model.no_sync():  # type: ignore[operator]
                    with torch.autocast(device.type, _DTYPES[precision], enabled=precision != "fp32"):
                        results = model(blurred)
                    value = _loss(s, results, network, blurred, sharp)
                    if adversary is not None:
                        value = value + s.adversarial * adversary.loss(results[0], sharp)
                    scaler.scale(value / s.accumulate).backward()  # type: ignore[no-untyped-call]
                total += value.detach() / s.accumulate
                begin = time.perf_counter()
                coming = next(feed)  # while the device is still at work on this one
                waited += time.perf_counter() - begin

            for optimizer in optimizers:
                scaler.unscale_(optimizer)
            norm = torch.nn.utils.clip_grad_norm_(weights, s.clip or torch.inf)
            if torch.isfinite(norm):
                for optimizer in optimizers:
                    scaler.step(optimizer)
                follow(average, network, keep_at(at.step, s))
                at.skipped_in_row = 0
            else:
                at.skipped += 1
                at.skipped_in_row += 1
            scaler.update()
            for weight in weights:
                weight.grad = None
            at.step += 1
            at.loss_steps += 1
            lap_steps += 1
            stopped = _agreed(stop(), device)
            tell(Stepped(at.step))

            if at.step % s.log_every == 0:
                mean = _mean_over_processes(total) / at.loss_steps
                seconds = time.perf_counter() - lap
                at.cpu_s = before_cpu_s + time.process_time()
                count = lap_steps * s.batch * s.accumulate * ranks
                if log is not None:
                    figures = Figures(
                        at.step, mean, float(norm), rate, count / seconds, waited / seconds, at.skipped,
                        at.cpu_s, seconds / lap_steps * (s.steps - at.step),
                    )  # fmt: skip
                    log.write(at.step, _columns(figures))
                    tell(figures)
                total.zero_()
                at.loss_steps, lap, lap_steps, waited = 0, time.perf_counter(), 0, 0.0
            if at.skipped_in_row >= MOST_SKIPPED:
                raise VdeblurError(_advice(at, precision, last))
            judges = at.step % s.validate_every == 0 or at.step == s.steps
            if judges or stopped or at.step % s.save_every == 0:
                at.loss_sum = _mean_over_processes(total)
                at.cpu_s = before_cpu_s + time.process_time()
                saved()
            if judges and (not stopped or at.step == s.steps):  # may take minutes; going on makes up for it
                begin = time.perf_counter()
                judged()
                lap += time.perf_counter() - begin
    return Outcome(average, at.step, at.skipped, at.cpu_s, at.step < s.steps, at.best_db, at.best_step)


_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def _widest(device: torch.device) -> torch.dtype:
    """For sums: Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def _loss(s: Settings, results: Scales, network: DeblurNetwork, blurred: Tensor, sharp: Tensor) -> Tensor:
    targets = network.pyramid(sharp)
    if s.loss == "relative":
        return loss.relative_loss(results, targets, network.pyramid(blurred))
    if s.loss == "energy":
        return loss.energy_loss(results, targets, network.pyramid(blurred))
    return {"mimo": loss.mimo_loss, "l1": loss.l1_loss, "mse": loss.mse_loss}[s.loss](results, targets)


def _agreed(stop: bool, device: torch.device) -> bool:
    """Whether any process was asked to stop; all must end at the same step."""
    if not dist.is_initialized():
        return stop
    flag = torch.tensor(float(stop), device=device)
    dist.all_reduce(flag)
    return bool(flag > 0)


def _mean_over_processes(total: Tensor) -> float:
    if not dist.is_initialized():
        return float(total)
    mean = total.clone()
    dist.all_reduce(mean)
    return float(mean) / dist.get_world_size()


def _columns(f: Figures) -> dict[str, float]:
    return {
        "loss": f.loss,
        "rate": f.rate,
        "gradient_norm": f.norm,
        "skipped": f.skipped,
        "samples_per_s": f.samples_per_s,
        "waited_share": f.waited,
    }


def _advice(at: checkpoint.Count, precision: str, last: Path) -> str:
    change = "" if precision == "fp32" else "--precision fp32, "
    back = f"; {last} is from before" if last.exists() else ""
    return (
        f"step {at.step}: the gradients of {at.skipped_in_row} steps in a row were not finite, nothing was "
        f"learnt from them; try {change}a lower --rate or a smaller --clip, or look at the data{back}"
    )
