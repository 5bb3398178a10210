"""One of the processes of `test_processes.py`, started by torchrun: PHOTOGRAPHS OUTPUT ACCUMULATE."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from learn import material

from vdeblur.data.feed import Share

if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    photographs, output, parts = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    share = Share(2 // parts, dist.get_rank(), dist.get_world_size(), parts)
    material.run(photographs, output, share=share, batch=2 // parts, accumulate=parts, pool=8, log_every=1)
    dist.destroy_process_group()
