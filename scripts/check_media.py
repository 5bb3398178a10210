"""Run the whole command on every readable clip of a folder and see whether anything else was lost.

    python scripts/check_media.py FOLDER [--only NAME] [--suffix .mkv] [--strength 1] [--codec ...]

Each result is compared with its source by a separate reading (`media_facts`, with ffprobe where there is
one).  Prints a table: OK, the allowed losses with what the run said of them, and FAIL; exits with 1 if
there is a FAIL.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from media_differences import ALLOWED, FAIL, Finding, differences
from media_facts import facts, psnr_db

from vdeblur.errors import InputError
from vdeblur.video.clip import Clip
from vdeblur.video.names import is_picture
from vdeblur.video.probing import probe

SIZE_LIMIT = 2.0


@dataclass
class Row:
    """What became of one clip."""

    name: str
    verdict: str
    words: list[str]
    seconds: float = 0.0
    ratio: float | None = None
    psnr: float | None = None


def check(path: Path, name: str, folder: Path, extra: list[str], suffix: str | None) -> Row:
    """One clip through the command and the comparison."""
    try:
        clip = probe(str(path))
    except InputError as error:
        return Row(name, "refused", [str(error).split(": ", 1)[-1]])
    began = time.perf_counter()
    command = [sys.executable, "-m", "vdeblur", str(path), "-o", str(folder), *extra]
    target = folder / (f"{path.stem}{suffix}" if suffix else _target_name(clip, extra))
    command[command.index(str(folder))] = str(target)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    seconds = time.perf_counter() - began
    said = done.stdout + done.stderr
    if done.returncode != 0:
        refused = done.returncode == 2 and (clip.broken or suffix)
        verdict = "refused" if refused else FAIL
        return Row(name, verdict, [said.strip().splitlines()[-1] if said.strip() else "no word"], seconds)
    before = facts(path, clip.picture.index)
    after = facts(target, _index_of_result(clip, target))
    # Lines may be wrapped for the terminal: read them as one.
    findings = differences(before, after, " ".join(said.split()))
    verdicts = {f.verdict for f in findings}
    ratio = after.bytes / before.bytes
    verdict = FAIL if FAIL in verdicts else ALLOWED if ALLOWED in verdicts else "OK"
    words = [_word(f) for f in findings if f.verdict != "OK"]
    return Row(name, verdict, words, seconds, ratio, psnr_db(before, after))


def _word(finding: Finding) -> str:
    return f"{finding.verdict} {finding.aspect}: {finding.detail}"


def _target_name(clip: Clip, extra: list[str]) -> str:
    from vdeblur.video.codecs import choose_output

    codec = extra[extra.index("--codec") + 1] if "--codec" in extra else None
    return f"{Path(clip.source).stem}{choose_output(clip, None, codec=codec).suffix}"


def _index_of_result(clip: Clip, target: Path) -> int:
    """The deblurred stream is the n-th video of the result as it was of the source."""
    import av

    videos = [s.index for s in clip.streams if s.kind == "video" and not s.is_cover]
    with av.open(str(target), metadata_errors="surrogateescape") as container:
        new = [s.index for s in container.streams.video if not int(s.disposition) & 1024]
    place = videos.index(clip.picture.index)
    return new[place] if len(new) == len(videos) else new[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--strength", default="0", help="0 passes the frames by the network (default)")
    parser.add_argument("--only", default="", help="clips whose name contains this")
    parser.add_argument("--suffix", help="write this container (.mkv, ...) instead of the source's own")
    parser.add_argument("--keep", type=Path, help="write the results into this folder and keep them")
    asked, extra = parser.parse_known_args()
    extra = ["--strength", asked.strength, "--overwrite", *extra]
    clips = sorted(
        p
        for p in asked.folder.rglob("*")
        if p.is_file() and p.suffix not in (".md", ".txt") and not is_picture(p) and asked.only in p.name
    )
    if not clips:
        parser.error(f"{asked.folder}: no clips there")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for path in clips:
            folder = asked.keep or Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            row = check(path, str(path.relative_to(asked.folder)), folder, extra, asked.suffix)
            rows.append(row)
            size = f"{row.ratio:5.2f}x" if row.ratio is not None else "      "
            quality = f"{row.psnr:6.1f} dB" if row.psnr is not None else "         "
            print(f"{row.verdict:8} {row.name:34} {row.seconds:5.1f} s {size} {quality}")
            for word in row.words:
                print(f"         {word}")
            sys.stdout.flush()
    failed = [row.name for row in rows if row.verdict == FAIL]
    large = [row.name for row in rows if row.ratio is not None and row.ratio > SIZE_LIMIT]
    print(f"\n{len(rows)} files, {len(failed)} FAIL")
    print(f"above {SIZE_LIMIT:g} times the size of the source: {', '.join(large) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
