"""The words of the command line and what they become: of `vdeblur FILE`, and those of several commands."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from vdeblur import __version__
from vdeblur.cli.values import amount, given, given_path, least_sharpness, pair, seconds
from vdeblur.errors import InputError

if TYPE_CHECKING:
    from vdeblur.jobs.plan import Options

COMMANDS = """\
other commands:
  vdeblur info FILE                what a file holds
  vdeblur verify SOURCE RESULT     is everything of a video still in the one made from it?
  vdeblur resume FOLDER            go on with every run below it that was stopped
  vdeblur data check ROOT          pairs of blurred and sharp pictures: what is there, what is wrong
  vdeblur data make-pairs SHARP... -o ROOT  such pairs from your own sharp videos and pictures
  vdeblur eval DATA [SHARP]        PSNR, SSIM, flicker and speed on pairs, or of two videos
  vdeblur live [SOURCE]            a camera or stream, sharpened as it comes
  vdeblur train RECIPE             train or fine-tune a network; --help lists recipes
  vdeblur demo [DIR]               make a shaken clip, deblur it, measure: needs no file
  vdeblur doctor                   what this machine can do
  vdeblur bench                    how fast, measured: network, stages, the whole; needs no file
  vdeblur weights list|import|export|remove  networks: which are known, here, or to be had
each has --help. Exit codes: 0 done, 1 failed, 2 the request cannot work, 130 Ctrl-C.
"""
# What argparse says of a mistake, in our words.
_SAID = (
    ("argument ", ""),
    ("the following arguments are required: ", "missing: "),
    ("expected one argument", "give it a value"),
    ("invalid float value: ", "not a number: "),
    ("invalid int value: ", "not a whole number: "),
)


class Parser(argparse.ArgumentParser):
    """One line for a mistake, like every other error; common options on all."""

    def __init__(self, prog: str, description: str = "", **settings: Any) -> None:
        settings.setdefault("formatter_class", _Help)
        super().__init__(prog=prog, description=description, allow_abbrev=False, **settings)
        self.add_argument("--debug", action="store_true", help="show tracebacks")

    def error(self, message: str) -> NoReturn:
        message = self._unknown(message) or message
        for theirs, ours in _SAID:
            message = message.replace(theirs, ours, 1)
        raise InputError(f"{message} (see `{self.prog} --help`)")

    def knows(self, option: str) -> bool:
        return option in self._option_string_actions

    def _unknown(self, message: str) -> str | None:
        """What to say of words that argparse has no place for; None: it says something else."""
        _, unknown, words = message.partition("unrecognized arguments: ")
        if not unknown:
            return None
        first = words.partition(" ")[0].partition("=")[0]
        if not first.startswith("-"):
            return f"{words}: not expected here"
        near = difflib.get_close_matches(first, self._option_string_actions, 1, 0.7)
        return f"{first}: no such option" + (f"; did you mean {near[0]}?" if near else "")


class _Help(argparse.HelpFormatter):
    """Fits the terminal line by line: an ended line stays ended, rows of two columns keep them."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        row = re.search(r"^ +\S.*?  +", text, re.MULTILINE)
        column = len(row[0]) if row and len(row[0]) < width / 2 else 6
        return "\n".join(
            textwrap.fill(line, width, subsequent_indent=" " * column * line.startswith(" "))
            for line in text.splitlines()
        )


def deblur_parser() -> Parser:
    parser = Parser(
        "vdeblur",
        "Deblur videos: sharp pictures, everything else in the file as it was.",
        usage="vdeblur INPUT [INPUT ...] [-o OUTPUT] [options]",
        epilog=COMMANDS,
    )
    parser.add_argument("--version", action="version", version=f"vdeblur {__version__}")
    parser.add_argument(
        "input",
        nargs="*",
        type=given,
        metavar="INPUT",
        help="video, URL, - (stdin), folder of videos, folder or pattern of pictures",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=given_path,
        metavar="OUTPUT",
        help="file, or a folder for several (default INPUT.deblurred.ext)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing target")
    network_options(parser)
    _what_to_do(parser)
    _encoding(parser)
    _what_to_say(parser)
    return parser


def _what_to_do(parser: Parser) -> None:
    part = parser.add_argument_group("what to do")
    quality_option(part)
    part.add_argument("--strength", type=float, default=1.0, help="0 (nothing) to 1 (all); default 1")
    part.add_argument(
        "--skip-sharp",
        type=least_sharpness,
        metavar="auto|off|N",
        help="frames that are sharp all over pass as they are: the faster the more there are (default off, "
        "with --quality fast on a CPU auto); N: from this sharpness on, auto is 1, less skips more",
    )
    part.add_argument("--start", type=seconds, metavar="TIME", help="from here: seconds or h:m:s")
    part.add_argument("--end", type=seconds, metavar="TIME", help="to here")
    part.add_argument(
        "--video-stream", type=int, metavar="N", help="deblur stream N (`vdeblur info` lists them)"
    )
    part.add_argument(
        "--deinterlace", action="store_true", help="make interlaced video progressive first (bwdif)"
    )
    part.add_argument(
        "--hwaccel",
        choices=("auto", "cuda", "none"),
        default="auto",
        help="cuda: the GPU decodes, where it gives the very same pictures (default: the processor)",
    )
    part.add_argument("--compare", choices=("side", "split"), help="before and after in one picture")
    part.add_argument(
        "--preview", type=seconds, metavar="TIME", help="one frame before/after as PNG, nothing else"
    )
    part.add_argument(
        "--keep-partial",
        action="store_true",
        help="keep what is finished if the source breaks off; leave damaged pictures out",
    )
    part.add_argument(
        "--restart", action="store_true", help="begin anew where an earlier run was stopped, not go on"
    )
    part.add_argument(
        "--keep-journal", action="store_true", help="leave the finished segments beside the target"
    )
    part.add_argument(
        "--memory",
        type=amount,
        metavar="AMOUNT",
        help="keep to so much of this machine's memory, by estimate, or refuse; e.g. 8G",
    )
    part.add_argument(
        "--verify",
        choices=("off", "packets", "full"),
        default="packets",
        help="compare the result with the source before it gets its name (default: packets); full decodes it "
        "too and looks at every picture",
    )


def _encoding(parser: Parser) -> None:
    part = parser.add_argument_group("encoding (default: suited to the source)")
    part.add_argument(
        "--codec", help="h264, h265, av1, vp9, ffv1, prores, or an encoder's name (h264_nvenc, ...)"
    )
    part.add_argument("--crf", type=int, help="quality of the encoder, smaller is better")
    part.add_argument("--preset", help="the encoder's speed preset")
    part.add_argument(
        "--encoder-option",
        dest="encoder_options",
        action="append",
        default=[],
        type=pair,
        metavar="K=V",
        help="one of the encoder's own; repeatable",
    )
    part.add_argument(
        "--encoder", choices=("auto", "ffmpeg"), default="auto", help="ffmpeg: your own ffmpeg encodes"
    )


def _what_to_say(parser: Parser) -> None:
    part = parser.add_argument_group("what to say")
    part.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    part.add_argument("--report", type=Path, metavar="FILE.json", help="write what became of every frame")
    part.add_argument("--quiet", action="store_true", help="errors only")


def network_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that runs a network."""
    part = parser.add_argument_group("network")
    part.add_argument(
        "--model", default="auto", help="a name from `vdeblur weights list` (default: the best here)"
    )
    part.add_argument("--weights", type=Path, metavar="FILE", help="a weights file instead of a name")
    part.add_argument(
        "--device", default="auto", help="auto, cpu, cuda (all GPUs of one make), cuda:N or mps"
    )
    part.add_argument("--precision", default="auto", help="auto, fp32, bf16, fp16 or int8")
    part.add_argument("--backend", default="auto", help="auto, torch, cuda or openvino")
    part.add_argument("--tile", default="auto", help="auto, off, or the side of a tile in pixels")


def quality_option(part: argparse._ArgumentGroup) -> None:
    """For the commands that users have results from."""
    part.add_argument(
        "--quality",
        choices=("fast", "balanced", "best"),
        default="balanced",
        help="how much time a frame may take: chooses what is not asked for by name (default balanced; "
        "`vdeblur doctor` says what each is on this machine)",
    )


def network_of(asked: argparse.Namespace) -> dict[str, Any]:
    from vdeblur.jobs.asked import NAMES

    return {name: getattr(asked, name) for name in NAMES}


def options_of(asked: argparse.Namespace) -> Options:
    from vdeblur.jobs.plan import Options

    given = {field.name: getattr(asked, field.name) for field in dataclasses.fields(Options)}
    return Options(**given | {"encoder_options": tuple(asked.encoder_options)})
