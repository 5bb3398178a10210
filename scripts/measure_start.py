#!/usr/bin/env python3
"""Seconds until commands that need neither weights nor a device have answered: median of nine runs.

python scripts/measure_start.py          # prints a table; exit code 1 where a median is over 0.4 s
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT_S = 0.4
COMMANDS = (
    ["--help"],
    ["--version"],
    ["weights", "list"],
    ["info", "missing.mp4"],
    ["missing.mp4"],
    ["--crf", "x"],
)


def main() -> int:
    program = [str(Path(sys.executable).with_name("vdeblur"))]
    slow = False
    with tempfile.TemporaryDirectory() as folder:
        for words in COMMANDS:
            laps = []
            for _ in range(10):
                begin = time.perf_counter()
                subprocess.run([*program, *words], cwd=folder, capture_output=True, check=False)
                laps.append(time.perf_counter() - begin)
            middle = statistics.median(laps[1:])  # the first lap fills the disk cache
            slow |= middle > LIMIT_S
            print(f"{middle:.3f} s  (best {min(laps):.3f})  vdeblur {' '.join(words)}")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
