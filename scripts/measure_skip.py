"""What `--skip-sharp auto` saves and what it costs, on a clip that is half sharp.

    python scripts/measure_skip.py PAIRS/reds/000 [--model mimo-unet-small] [--repeat 4] [--size 1280x720] \
        [--preset veryfast]
    python scripts/measure_skip.py PAIRS --noise 0 1 2 3 4

The clip (H.264, CRF 10, 4:2:0) shows the sharp pictures of CLIP/sharp forwards and backwards in turn (a cut
after every few pictures would be hard on encoders), `repeat` times over, then the blurred ones of CLIP/blur
as often; with `--size` each is mirrored at its borders until it fills that size. Two runs each way: one
writes what `vdeblur` writes by itself and gives the speed (frames over the seconds from the first frame to
the last), one writes a lossless file and gives the loss.  With `--noise` nothing runs: it counts those of the
pictures PAIRS/<set>/<clip>/{blur,sharp}/*.png, with white noise of these deviations, that would be skipped.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import av
import numpy as np

from vdeblur.engine.sharpness import sharpness
from vdeblur.frame import Fate, Frame
from vdeblur.jobs.deblur import Result, deblur_file
from vdeblur.metrics import psnr
from vdeblur.video.picture_files import rgb_of
from vdeblur.video.pictures import probe_pictures, read_pictures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("--noise", type=float, nargs="+", metavar="DEVIATION", help="in 1/255")
    parser.add_argument("--model", default="mimo-unet-small")
    parser.add_argument("--repeat", type=int, default=4)
    parser.add_argument("--preset", help="of the encoder")
    parser.add_argument("--size", help="WIDTHxHEIGHT to fill by mirroring")
    options = parser.parse_args()
    if options.noise:
        count_skipped(options.clip, options.noise)
        return
    blurred, sharp = (pictures(options.clip / side) for side in ("blur", "sharp"))
    if options.size:
        width, height = map(int, options.size.split("x"))
        blurred, sharp = ([mirrored(p, height, width) for p in side] for side in (blurred, sharp))
    with tempfile.TemporaryDirectory() as folder:
        source = write(
            Path(folder) / "half-sharp.mkv",
            to_and_fro(sharp, options.repeat) + to_and_fro(blurred, options.repeat),
        )
        runs: dict[str, tuple[Result, float, list[np.ndarray]]] = {}
        for name, least in (("all frames", None), ("--skip-sharp auto", 1.0)):
            as_usual, lossless = (
                deblur_file(
                    source,
                    Path(folder) / f"{len(runs)}-{codec or 'usual'}.mkv",
                    model=options.model,
                    codec=codec,
                    preset=None if codec else options.preset,
                    skip_sharp=least,
                )
                for codec in (None, "ffv1")
            )
            runs[name] = lossless, as_usual.ledger.steady_fps or 0.0, read(lossless.target)
        originals = read(source)
    count, half = len(sharp), len(sharp) * options.repeat
    for name, (result, fps, frames) in runs.items():
        gains = [
            psnr(frames[half + i], sharp[i], 255) - psnr(blurred[i], sharp[i], 255) for i in range(count)
        ]
        same = all(np.array_equal(frames[i], originals[i]) for i in range(half))
        fates = ", ".join(f"{number} {fate}" for fate, number in result.ledger.fates.items())
        print(
            f"{name}: {fps:.2f} frames a second ({fates}); blurred half "
            f"{sum(gains) / count:+.3f} dB; sharp half {'bit-identical' if same else 'changed'}"
        )
    speeds = [fps for _, fps, _ in runs.values()]
    skipped = runs["--skip-sharp auto"][0].ledger.fates[Fate.SHARP]
    print(f"{skipped} of {2 * half} skipped, {speeds[1] / speeds[0]:.2f} times as fast")


def count_skipped(folder: Path, deviations: list[float]) -> None:
    rng = np.random.default_rng(0)
    frames = {side: read_all(sorted(folder.glob(f"*/*/{side}/*.png"))) for side in ("blur", "sharp")}
    for deviation in deviations:
        counts = []
        for side, found in frames.items():
            noisy = (dataclasses.replace(f, planes=(with_noise(f.planes[0], deviation, rng),)) for f in found)
            counts.append(f"{sum(sharpness(f) >= 1 for f in noisy)} of {len(found)} {side}")
        print(f"noise of {deviation:g}: skipped {', '.join(counts)}")


def read_all(files: list[Path]) -> list[Frame]:
    return [next(iter(read_pictures(probe_pictures(str(file))))) for file in files]


def with_noise(plane: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    return np.rint(plane + rng.normal(0, deviation, plane.shape)).clip(0, 255).astype(np.uint8)


def pictures(folder: Path) -> list[np.ndarray]:
    return [rgb_of(frame) for frame in read_pictures(probe_pictures(str(folder)))]


def to_and_fro(frames: list[np.ndarray], times: int) -> list[np.ndarray]:
    return [frame for number in range(times) for frame in (frames[::-1] if number % 2 else frames)]


def mirrored(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = (
        max(0, wanted - own) for wanted, own in zip((height, width), picture.shape, strict=False)
    )
    return np.pad(picture, ((0, rows), (0, columns), (0, 0)), "symmetric")[:height, :width]


def write(path: Path, frames: list[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "10"})
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
