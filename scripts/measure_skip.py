"""What `--skip-sharp auto` saves and what it costs, on a clip that is half sharp.

    python scripts/measure_skip.py PAIRS/reds/000 [--model mimo-unet-small] [--repeat 4]

The clip (lossless, 4:2:0) shows the sharp pictures of CLIP/sharp `repeat` times over, then the blurred ones
of CLIP/blur as often. Both runs write a lossless file; speed is frames over the seconds from the first frame
to the last.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import av
import numpy as np

from vdeblur.frame import Fate
from vdeblur.jobs.deblur import Result, deblur_file
from vdeblur.metrics import psnr
from vdeblur.video.picture_files import rgb_of
from vdeblur.video.pictures import probe_pictures, read_pictures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", default="mimo-unet-small")
    parser.add_argument("--repeat", type=int, default=4)
    options = parser.parse_args()
    blurred, sharp = (pictures(options.clip / side) for side in ("blur", "sharp"))
    with tempfile.TemporaryDirectory() as folder:
        source = write(Path(folder) / "half-sharp.mkv", sharp * options.repeat + blurred * options.repeat)
        runs: dict[str, tuple[Result, list[np.ndarray]]] = {}
        for name, least in (("all frames", None), ("--skip-sharp auto", 1.0)):
            result = deblur_file(
                source,
                Path(folder) / f"{len(runs)}.mkv",
                model=options.model,
                codec="ffv1",
                skip_sharp=least,
            )
            runs[name] = result, read(result.target)
        originals = read(source)
    count, half = len(sharp), len(sharp) * options.repeat
    for name, (result, frames) in runs.items():
        gains = [
            psnr(frames[half + i], sharp[i], 255) - psnr(blurred[i], sharp[i], 255) for i in range(count)
        ]
        same = all(np.array_equal(frames[i], originals[i]) for i in range(half))
        fates = ", ".join(f"{number} {fate}" for fate, number in result.ledger.fates.items())
        print(
            f"{name}: {result.ledger.steady_fps:.2f} frames a second ({fates}); blurred half "
            f"{sum(gains) / count:+.3f} dB; sharp half {'bit-identical' if same else 'changed'}"
        )
    speeds = [result.ledger.steady_fps or 0.0 for result, _ in runs.values()]
    skipped = runs["--skip-sharp auto"][0].ledger.fates[Fate.SHARP]
    print(f"{skipped} of {2 * half} skipped, {speeds[1] / speeds[0]:.2f} times as fast")


def pictures(folder: Path) -> list[np.ndarray]:
    return [rgb_of(frame) for frame in read_pictures(probe_pictures(str(folder)))]


def write(path: Path, frames: list[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="yuv420p"))
            )
        container.mux(stream.encode())
    return path


def read(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


if __name__ == "__main__":
    main()
