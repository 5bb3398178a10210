"""A training run on disk: one file with all that going on needs, written beside and renamed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from vdeblur.errors import InputError, VdeblurError
from vdeblur.learn.adversary import Adversary
from vdeblur.models.contract import DeblurNetwork


@dataclass(slots=True)
class Count:
    """What the checkpoint keeps besides weights; the sums are of the steps since the last figures."""

    step: int = 0
    skipped: int = 0
    skipped_in_row: int = 0
    cpu_s: float = 0.0
    loss_sum: float = 0.0
    loss_steps: int = 0
    best_db: float | None = None
    best_step: int | None = None
    judged_step: int | None = None


@dataclass(frozen=True, slots=True)
class Learner:
    """All that steps change."""

    network: DeblurNetwork
    average: DeblurNetwork
    optimizers: list[torch.optim.Optimizer]
    scaler: torch.amp.GradScaler
    adversary: Adversary | None
    at: Count

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on, as plain values and tensors."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "scaler": self.scaler.state_dict(),
            "adversary": self.adversary.state() if self.adversary is not None else None,
            **{name: getattr(self.at, name) for name in Count.__slots__},
        }

    def restore(self, last: Path, settings: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Put everything back; returns the settings that differ from the run's of before, as (before, now).

        settings   of now, as they will be saved; only those that both sides have are compared
        """
        state = load(last)
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(kept)
            if self.adversary is not None and state.get("adversary") is not None:
                self.adversary.restore(state["adversary"])
        except (RuntimeError, KeyError, ValueError) as error:
            raise InputError(
                f"{last}: is the checkpoint of another network or optimizer; give another --output"
            ) from error
        if self.scaler.is_enabled() and state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        for name in Count.__slots__:
            if name in state:
                setattr(self.at, name, state[name])
        now, before = _named(settings), _named(state.get("settings", {}))
        return {key: (before[key], new) for key, new in now.items() if key in before and before[key] != new}


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint such that a crash leaves either the old file or the new one, never half of one.

    Raises VdeblurError where it cannot be written; of a full disk torch's writer says `unexpected pos`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    try:
        torch.save(state, beside)
        os.replace(beside, path)
    except (OSError, RuntimeError) as error:
        reason = (
            error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition("\n")[0]
        )
        raise VdeblurError(
            f"{path}: cannot be written ({reason}); is the disk full? What was saved before is still there"
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint of `save`; nothing but tensors and plain values is accepted.

    Raises InputError for a file that is damaged or none.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError) as error:
        raise InputError(f"{path}: is no checkpoint, or damaged; move it away to begin anew") from error
    return state


def plain(settings: Any) -> dict[str, Any]:
    """A settings dataclass as plain values, paths as text."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(settings).items()}


def _named(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Plain settings by the names that recipes give them."""
    motion = {f"blur_{key}": value for key, value in settings.get("motion", {}).items()}
    return {key: value for key, value in settings.items() if key != "motion"} | motion


def export(path: Path, state_dict: dict[str, Tensor], facts: dict[str, str]) -> None:
    """Write weights for use: half precision safetensors with `facts` as its metadata, renamed when whole."""
    from safetensors.torch import save_file

    beside = path.with_name(path.name + ".part")
    save_file({key: value.detach().half().contiguous() for key, value in state_dict.items()}, beside, facts)
    beside.chmod(0o644)  # safetensors writes for the owner alone
    os.replace(beside, path)
