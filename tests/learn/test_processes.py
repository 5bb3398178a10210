"""Two processes that share their gradients learn what one learns from the same whole batch."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist

pytest.importorskip("cv2", reason="OpenCV does not load here", exc_type=ImportError)

from learn import material

TESTS = Path(__file__).parents[1]
ACCUMULATE = "2"  # pieces of a step: gradients are shared with the last one only


@pytest.mark.slow
@pytest.mark.skipif(not dist.is_available(), reason="this torch has no torch.distributed")
def test_two_gloo_processes_have_the_losses_of_one(tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    material.write_photographs(photographs)
    material.run(photographs, tmp_path / "one", batch=4, pool=16, log_every=1)
    environment = {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}", "OMP_NUM_THREADS": "1"}
    script = str(TESTS / "learn/two_processes.py")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*torchrun, script, str(photographs), str(tmp_path / "two"), ACCUMULATE],
        check=True,
        env=os.environ | environment,
        timeout=240,
    )
    losses = []
    for name in ("one", "two"):
        with (tmp_path / name / "log.csv").open(newline="") as file:
            losses.append([float(row["loss"]) for row in csv.DictReader(file)])
    assert len(losses[0]) == 6
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
