"""`vdeblur live`: the words of its command line, and who watches."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vdeblur.cli.options import Parser, network_of, network_options, quality_option
from vdeblur.cli.values import fraction, seconds, size
from vdeblur.errors import InputError

if TYPE_CHECKING:
    from vdeblur.jobs.live.options import LiveOptions
    from vdeblur.jobs.live.view import Controls, Viewer

DEFAULT_FPS = 20.0


def live(words: list[str]) -> int:
    """Run the command; returns the exit code."""
    asked = _parser().parse_args(words)
    options = _options(asked)
    options.check()
    from vdeblur.cli.figures import Figures
    from vdeblur.jobs.live.live import run
    from vdeblur.jobs.live.view import Controls

    controls = Controls(asked.strength, recording=asked.record is not None)
    with Figures(figures=asked.headless) as figures:
        viewers = _viewers(asked, controls)
        result = run(options, viewers, controls, tell=figures.tell, watch=figures.watch)
    figures.tell(result.line())
    return 0


def _parser() -> Parser:
    parser = Parser(
        "vdeblur live",
        "A camera, stream or the screen, sharpened as it comes. The newest picture wins: what cannot be "
        "shown in time is dropped and counted, and the screen says how old its picture is.",
    )
    parser.add_argument(
        "source",
        nargs="?",
        default="0",
        metavar="SOURCE",
        help="camera number or device, rtsp://, http://, udp://, screen, or a file (default: camera 0)",
    )
    part = parser.add_argument_group("source")
    part.add_argument("--capture", choices=("opencv", "pyav"), default="opencv", help="what reads cameras")
    part.add_argument("--size", type=size, metavar="WxH", help="picture size of a camera or the screen")
    part.add_argument(
        "--rate", type=fraction, metavar="FPS", help="pictures a second of a camera, screen or file"
    )
    part.add_argument("--loop", action="store_true", help="play a file again and again")
    part.add_argument("--duration", type=seconds, metavar="TIME", help="end after this time")
    network_options(parser)
    part = parser.add_argument_group("what to do")
    quality_option(part)
    part.add_argument("--strength", type=float, default=1.0, help="how much of the correction, 0 to 1")
    part.add_argument(
        "--target-fps",
        type=_fps,
        metavar="FPS",
        help=f"smaller network or resolution until so many are shown (default {DEFAULT_FPS:g} where "
        "--max-latency is not given; off: never)",
    )
    part.add_argument("--max-latency", type=_latency, metavar="TIME", help="... until so fresh, e.g. 100ms")
    part = parser.add_argument_group("who sees it (default: a window)")
    part.add_argument("--headless", action="store_true", help="no window, figures only")
    part.add_argument(
        "--web",
        nargs="?",
        const="8765",
        type=_web,
        metavar="PORT",
        help="a page for browsers instead of a window; ADDRESS:PORT opens it to other machines (default: "
        "127.0.0.1:8765)",
    )
    part.add_argument("--record", type=Path, metavar="FILE", help="record from the start")
    part.add_argument("--overwrite", action="store_true", help="replace an existing recording")
    part.add_argument("--codec", help="of the recording (default h264)")
    part.add_argument("--crf", type=int, help="quality of the recording, smaller is better")
    part.add_argument("--preset", help="the encoder's speed preset")
    part.add_argument(
        "--output", metavar="ADDRESS", help="serve it on: rtmp://, rtsp://, udp://, v4l2:/dev/videoN, or -"
    )
    return parser


def _options(asked: argparse.Namespace) -> LiveOptions:
    from vdeblur.jobs import quality
    from vdeblur.jobs.live.ladder import Goal
    from vdeblur.jobs.live.options import LiveOptions
    from vdeblur.jobs.live.record import RecordAsk
    from vdeblur.jobs.live.sources import SourceAsk

    if not 0 <= asked.strength <= 1:
        raise InputError(f"--strength {asked.strength:g}: must lie between 0 (nothing) and 1 (all of it)")
    fps = asked.target_fps
    if fps is None and asked.max_latency is None:
        fps = DEFAULT_FPS
    return LiveOptions(
        source=SourceAsk(asked.source, asked.capture, asked.size, asked.rate, asked.loop),
        **quality.filled(asked.quality, network_of(asked), live=True),
        goal=Goal(fps or None, asked.max_latency),
        duration_s=None if asked.duration is None else float(asked.duration),
        record=RecordAsk(asked.record, asked.overwrite, asked.codec, asked.crf, asked.preset),
        output=asked.output,
    )


def _viewers(asked: argparse.Namespace, controls: Controls) -> list[Viewer]:
    if asked.web is not None:
        from vdeblur.jobs.live.web import Web

        web = Web(controls, *asked.web)
        # Not through the log of the run, which hides what looks like a secret: the token is meant to be seen.
        print(f"open {web.url} in a browser; Ctrl-C ends", file=sys.stderr, flush=True)
        return [web]
    if asked.headless or asked.output == "-":
        return []
    from vdeblur.jobs.live.window import Window

    return [Window(controls)]


def _web(text: str) -> tuple[str, int]:
    from vdeblur.jobs.live.web import address

    try:
        return address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no port: give PORT or ADDRESS:PORT (a SOURCE stands before the options)"
        ) from None


def _fps(text: str) -> float:
    """A number, or `off` as 0."""
    try:
        value = 0.0 if text == "off" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give pictures a second, or off") from None
    if value < 0 or (value == 0 and text != "off"):
        raise argparse.ArgumentTypeError(f"{text!r}: must be more than 0, or off")
    return value


def _latency(text: str) -> float:
    """`100ms`, `0.1s` or `0.1` -> seconds."""
    try:
        value = float(text[:-2]) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give 100ms or 0.1s") from None
    return value
