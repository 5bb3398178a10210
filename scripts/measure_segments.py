"""What the segments of a run cost: the size of a file made of them against one made in one piece.

    python scripts/measure_segments.py CLIP [CLIP ...] [--seconds 60] [--codecs h264 h265 av1 vp9]

Clips that are shorter are played forwards and backwards in turn until they are long enough.  No network runs;
CRF, preset and everything else are the defaults without the ceiling for the rate, as it follows the source's.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av

from vdeblur.jobs.deblur import run
from vdeblur.jobs.plan import Options, make_plan
from vdeblur.video.encoders import CODECS, ENCODERS
from vdeblur.video.segments import Rule

ONE_PIECE = Rule(Fraction(10**6))


def longer(clip: Path, seconds: float, target: Path) -> int:
    """Write the clip's pictures forwards and backwards in turn, nearly lossless; returns how many."""
    with av.open(str(clip)) as source:
        video = source.streams.best("video")
        assert isinstance(video, av.VideoStream)
        rate = video.average_rate or Fraction(25)
        frames = [frame.reformat(format="yuv420p") for frame in source.decode(video)][:400]
    order = itertools.cycle([*range(len(frames)), *range(len(frames) - 2, 0, -1)])
    count = round(seconds * rate)
    with av.open(str(target), "w") as output:
        stream = output.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        stream.codec_context.options = {"preset": "ultrafast", "crf": "10"}
        for number, place in zip(range(count), order, strict=False):
            frame = frames[place]
            frame.pts, frame.time_base, frame.pict_type = number, 1 / rate, 0
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--codecs", nargs="+", default=["h264", "h265", "av1", "vp9"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for clip in asked.clips:
            source = Path(scratch) / "long.mkv"
            frames = longer(clip, asked.seconds, source)
            print(f"{clip.name}: {frames} frames, {asked.seconds:g} s")
            for codec in asked.codecs:
                crf = ENCODERS[CODECS[codec][0]].default
                made = []
                for rule in (ONE_PIECE, Rule()):
                    options = Options(strength=0, codec=codec, crf=crf, overwrite=True, verify="off")
                    began = time.perf_counter()
                    result = run(make_plan(str(source), Path(scratch) / "out.mkv", options), rule=rule)
                    made.append((result.target.stat().st_size, time.perf_counter() - began))
                (whole, whole_s), (parts, parts_s) = made
                print(
                    f"  {codec:5} crf {crf}: {whole / 1e6:7.2f} MB whole, {parts / 1e6:7.2f} in segments: "
                    f"{100 * (parts / whole - 1):+.2f} %   ({whole_s:.0f} s, {parts_s:.0f} s)",
                    flush=True,
                )


if __name__ == "__main__":
    main()
