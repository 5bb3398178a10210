"""`vdeblur info` and `vdeblur verify`: what a file holds, and whether another holds it too."""

from __future__ import annotations

from vdeblur.cli.options import Parser


def info(words: list[str]) -> int:
    parser = Parser(
        "vdeblur info", "What a file holds: streams, times, colour, and what the decoder really gives."
    )
    parser.add_argument("file", metavar="FILE", help="video, URL, - (stdin), picture, folder of pictures")
    parser.add_argument("--video-stream", type=int, metavar="N", help="look at this stream instead")
    asked = parser.parse_args(words)
    from vdeblur.cli import show
    from vdeblur.video.probing import probe

    show.clip(probe(asked.file, video_stream=asked.video_stream))
    return 0


def verify(words: list[str]) -> int:
    parser = Parser(
        "vdeblur verify",
        "Compares a video with the one made from it, by whatever program: frames and their times, every "
        "packet of the other streams, chapters, tags, languages, rotation, colour and HDR data.\n"
        "Exit codes: 0 nothing is wrong, 1 damage was found, 2 a file cannot be read.",
    )
    parser.add_argument("source", metavar="SOURCE", help="the video as it was")
    parser.add_argument("result", metavar="RESULT", help="what was made of it")
    parser.add_argument(
        "--full", action="store_true", help="decode both and look at every picture from far away"
    )
    asked = parser.parse_args(words)
    from vdeblur.cli import progress, show
    from vdeblur.video import verify as comparing

    with progress.doing("reading both files"):
        receipt = comparing.verify(asked.source, asked.result, pictures=asked.full)
    show.receipt(receipt)
    return 1 if receipt.faults else 0
