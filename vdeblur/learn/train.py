"""Train a network on blur made from sharp photographs: settings on top, then one plain loop.

    python scripts/train_default.py tiny --photographs PHOTOS --output RUN      (see there for the whole
    recipe)

The loop makes its pairs itself, between two steps: on a CPU a pair costs a few per cent of the steps it
feeds, and a process that waits for nobody keeps its core warm. Several processes (torchrun, gloo) share the
gradient of every step. A run goes on from its last checkpoint when started again with the same output folder.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from vdeblur.data.drawings import Picture
from vdeblur.data.synthesis import BlurSettings, Pair, PairPool, load_photographs, make_pair
from vdeblur.learn import checkpoint
from vdeblur.learn.loss import energy_loss, mimo_loss, relative_loss
from vdeblur.learn.muon import Muon
from vdeblur.models.contract import DeblurNetwork


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a run depends on, besides the network it is given.

    The rate rises over `warm_up` steps, stays, and falls along half a cosine to zero over the last `decay`
    steps.
    """

    photographs: Path
    output: Path
    steps: int = 20_000
    decay: int = 20_000
    warm_up: int = 300
    batch: int = 8
    crop: int = 192
    rate: float = 1e-3
    optimizer: Literal["adam", "muon"] = "adam"
    loss: Literal["mimo", "relative", "energy"] = "mimo"
    clip: float = 1.0
    ema: float = 0.999
    bf16: bool = True
    seed: int = 1
    pool: int = 768
    reuse: int = 16
    log_every: int = 100
    save_every: int = 1000
    validate_every: int = 2000
    blur: BlurSettings = field(default_factory=BlurSettings)


@dataclass(slots=True)
class Outcome:
    """Where a run ended: the averaged network and a few counts."""

    network: DeblurNetwork
    steps: int
    skipped: int
    cpu_s: float


def train(network: DeblurNetwork, settings: Settings, say: Callable[[str], None] = print) -> Outcome:
    """Train `network` in place; the returned network is the moving average of its weights."""
    s = settings
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    last = s.output / "last.pt"

    network = network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network).eval().requires_grad_(False)
    weights = list(network.parameters())
    optimizers = make_optimizers(network, s)
    step, skipped, spent = 0, 0, 0.0

    if last.exists():
        state = checkpoint.load(last)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, skipped, spent = state["step"], state["skipped"], state["cpu_s"]
        if rank == 0:
            say(f"going on from step {step}")

    batches = sample_batches(s, seed=(s.seed * 1009 + step) * 64 + rank)
    judges = validation_pairs(s) if rank == 0 else []
    began, at, total = time.process_time(), time.perf_counter(), 0.0

    while step < s.steps:
        rate = s.rate * rate_at(step, s)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

        blurred, sharp = next(batches)
        with torch.autocast("cpu", torch.bfloat16, enabled=s.bf16):
            results = network.scales(blurred)
        targets = network.pyramid(sharp)
        if s.loss == "mimo":
            loss = mimo_loss(results, targets)
        else:
            measure = relative_loss if s.loss == "relative" else energy_loss
            loss = measure(results, targets, network.pyramid(blurred))
        loss.backward()  # type: ignore[no-untyped-call]
        if ranks > 1:
            share_gradients(weights, ranks)
        norm = torch.nn.utils.clip_grad_norm_(weights, s.clip)
        if torch.isfinite(norm):
            for optimizer in optimizers:
                optimizer.step()
            follow(average, network, min(s.ema, (1 + step) / (10 + step)))
        else:
            skipped += 1
        for weight in weights:
            weight.grad = None
        step += 1
        total += float(loss.detach())

        if rank == 0 and step % s.log_every == 0:
            now = time.perf_counter()
            speed = s.log_every * s.batch * ranks / (now - at)
            minutes = (spent + time.process_time() - began) / 60
            say(
                f"step {step}  loss {total / s.log_every:.4f}  norm {float(norm):.2f}  rate {rate:.2e}  "
                f"{speed:.1f} crops/s  skipped {skipped}  cpu {minutes:.1f} min"
            )
            at, total = now, 0.0
        if rank == 0 and (step % s.validate_every == 0 or step == s.steps):
            say(f"step {step}  synthetic gain {validate(average, judges):+.3f} dB")
        if rank == 0 and (step % s.save_every == 0 or step == s.steps):
            checkpoint.save(
                last,
                {
                    "network": network.state_dict(),
                    "average": average.state_dict(),
                    "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                    "step": step,
                    "skipped": skipped,
                    "cpu_s": spent + time.process_time() - began,
                    "settings": checkpoint.plain(s),
                },
            )
    return Outcome(average, step, skipped, spent + time.process_time() - began)


def rate_at(step: int, s: Settings) -> float:
    """The share of the full learning rate at a step."""
    rise = min(1.0, (step + 1) / max(1, s.warm_up))
    left = (s.steps - step) / max(1, s.decay)
    fall = 1.0 if left >= 1 else 0.5 - 0.5 * math.cos(math.pi * left)
    return rise * fall


def make_optimizers(network: DeblurNetwork, s: Settings) -> list[torch.optim.Optimizer]:
    """Adam for everything, or Muon for the inner convolutions and Adam for what touches pictures and for
    biases.
    """
    if s.optimizer == "adam":
        return [torch.optim.Adam(network.parameters(), s.rate, fused=True)]
    inner: list[Tensor] = []
    plain: list[Tensor] = []
    for weight in network.parameters():
        is_inner = weight.dim() == 4 and min(weight.shape[:2]) > 12
        (inner if is_inner else plain).append(weight)
    return [Muon(inner, s.rate), torch.optim.Adam(plain, s.rate, fused=True)]


def share_gradients(weights: list[torch.nn.Parameter], ranks: int) -> None:
    """Replace each gradient by its mean over all processes, in one message."""
    gradients = [w.grad for w in weights if w.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= ranks
    parts = torch.split(flat, [g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view(gradient.shape))


@torch.no_grad()
def follow(average: torch.nn.Module, network: torch.nn.Module, keep: float) -> None:
    """Move the averaged weights towards the present ones."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)


def sample_batches(s: Settings, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of (blurred, sharp), Nx3xcropxcrop, float32 in [0, 1], channels last."""
    pool = iter(PairPool(load_photographs(s.photographs), s.blur, s.crop, seed, s.pool, s.reuse))
    while True:
        samples = [next(pool) for _ in range(s.batch)]
        yield to_tensor([b for b, _ in samples]), to_tensor([t for _, t in samples])


def to_tensor(pictures: list[Picture]) -> Tensor:
    """HxWx3 uint8 pictures of one size to Nx3xHxW float32 in [0, 1], channels last in memory."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div_(255)


def validation_pairs(s: Settings, count: int = 64, seed: int = 20_261_121) -> list[Pair]:
    """The same pairs for every run with these blur settings, made from photographs that training never
    sees.
    """
    rng = np.random.default_rng(seed)
    photographs = load_photographs(s.photographs, validation=True)
    return [make_pair(rng, photographs, s.blur) for _ in range(count)]


@torch.no_grad()
def validate(network: DeblurNetwork, pairs: list[Pair]) -> float:
    """Mean gain in PSNR over the blurred input, in dB; pairs blurred by less than one level (rms) are left
    out.
    """
    gains = []
    for pair in pairs:
        blurred, sharp = to_tensor([pair.blurred]), to_tensor([pair.sharp])
        before = float((blurred - sharp).square().mean())
        if before < (1 / 255) ** 2:
            continue
        after = float((network(blurred).clamp(0, 1) - sharp).square().mean())
        gains.append(10 * math.log10(before / after))
    return sum(gains) / len(gains)
