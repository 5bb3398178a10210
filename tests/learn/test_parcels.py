"""A checkpoint in small files goes on where the whole one would; a call on a bare machine with a GPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vdeblur.errors import InputError
from vdeblur.learn import parcels

ROOT = Path(__file__).resolve().parents[2]


def state(step: int = 7) -> dict[str, object]:
    torch.manual_seed(step)
    tensors = {f"layer.{i}": torch.randn(16, 16, 3, 3) for i in range(5)}
    squares = {
        i: {"step": torch.tensor(3.0), "exp_avg_sq": torch.rand(16, 16, 3, 3) * 1e-12} for i in range(5)
    }
    return {
        "network": tensors,
        "average": {key: value + 1e-3 for key, value in tensors.items()},
        "optimizers": [
            {"state": squares, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.99), "params": [0, 1]}]}
        ],
        "step": step,
        "best_db": None,
    }


def test_parts_are_small_and_give_the_checkpoint_back(tmp_path: Path) -> None:
    files = parcels.pack(state(), tmp_path, most_bytes=30_000)
    assert len(files) > 2
    assert max(file.stat().st_size for file in files[1:]) < 30_000
    back, whole = parcels.unpack(tmp_path), state()
    assert back["optimizers"][0]["param_groups"] == whole["optimizers"][0]["param_groups"]  # type: ignore[index]
    torch.testing.assert_close(back["network"], whole["network"], rtol=1e-3, atol=1e-4)
    for i in range(5):
        a, b = back["optimizers"][0]["state"][i], whole["optimizers"][0]["state"][i]  # type: ignore[index]
        assert a["step"] == b["step"]
        torch.testing.assert_close(a["exp_avg_sq"], b["exp_avg_sq"], rtol=1e-2, atol=0)
    assert (back["step"], back["best_db"]) == (7, None)


def test_a_new_packing_replaces_the_old_one(tmp_path: Path) -> None:
    parcels.pack(state(7), tmp_path, most_bytes=30_000)
    parcels.pack(state(8), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["part-0.pt"]
    assert parcels.unpack(tmp_path)["step"] == 8


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no part-0\.pt"):
        parcels.unpack(tmp_path)
    files = parcels.pack(state(7), tmp_path / "a", most_bytes=30_000)
    parcels.pack(state(8), tmp_path / "b", most_bytes=30_000)
    (tmp_path / "b/part-1.pt").replace(files[1])
    with pytest.raises(InputError, match=r"part-1\.pt: is of step 8, part-0\.pt of step 7"):
        parcels.unpack(tmp_path / "a")
    files[1].unlink()
    with pytest.raises(InputError, match=r"part-1\.pt: is missing"):
        parcels.unpack(tmp_path / "a")


BARE = """
import runpy, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("cv2", "av", "rich", "skimage", "safetensors", "PIL"):
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_a_gpu_call_needs_nothing_but_torch_and_numpy(tmp_path: Path) -> None:
    settings = "batch=2 crop=32 blur_size=32 blur_drawn=0 pool=64 log_every=2 save_every=2 steps=4 channels=8"
    settings += " blocks=1 validate_every=100 validate_pictures=16"
    run = tmp_path / "run"

    def call(*words: str) -> str:
        command = [sys.executable, "-c", BARE, str(ROOT / "scripts/train_gpu.py"), *words]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    config = str(ROOT / "vdeblur/learn/configs/mimo-unet-tiny-gpu.toml")
    words = [config, "--run", str(run), "--device", "cpu", "--set", *settings.split()]
    assert "step 1 of 4" in call(*words[:3], "--minutes", "0", *words[3:])
    said = call(*words)
    assert "step 1 of 4" in said, "it goes on"
    assert "step 4 of 4" in said
    assert {path.name for path in run.iterdir()} == {"part-0.pt", "log.csv", "work"}
    assert parcels.unpack(run)["step"] == 4
    # And in a last call to an end that its time allows.
    said = call(*words[:3], "--minutes", "0.05", "--falling", "0.02", *words[3:])
    at, steps, decay = re.search(r"^step (\d+) of (\d+);.* decay is (\d+) now", said, re.MULTILINE).groups()  # type: ignore[union-attr]
    assert 4 < int(at) == int(steps) - int(decay)
    assert f"step {steps} of {steps}, " in said
