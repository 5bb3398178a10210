"""Feed the program damaged files until something gives: clips, checkpoints, journals, recipes, playlists.

    python scripts/fuzz.py [--minutes 30] [--seed 0] [--kinds clip,weights,journal,recipe,playlist] [CLIP ...]

Every case is one mutated file in a folder of its own, worked on by a forked child with limits on time and
memory.  A finding is: the child dies of a signal, outlives its time, outgrows its memory, ends with an exit
code or a message that nobody promised, or leaves anything but its results behind.  Findings are printed and
their files kept in the folder named at the end; the exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

JOURNAL_WORDS = ["in.mkv", "-o", "out.mkv", "--strength", "0", "--preset", "ultrafast"]
LIMIT_S = 40.0  # a hang; far more than any of these small files needs, also on a busy machine
LIMIT_BYTES = 1536 << 20  # of address space, on top of what the warm parent has
EDGES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\x01")
PLAYLISTS = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{uri}\n#EXT-X-ENDLIST\n",
    '#EXTM3U\n#EXT-X-MAP:URI="{uri}"\n#EXT-X-KEY:METHOD=AES-128,URI="{uri}"\n#EXTINF:1,\n{uri}\n',
    "ffconcat version 1.0\nfile '{uri}'\n",
    "[playlist]\nFile1={uri}\nNumberOfEntries=1\n",
    "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    '<?xml version="1.0"?><MPD><Period><AdaptationSet mimeType="video/mp4"><Representation id="1">'
    "<BaseURL>{uri}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "{uri}">]><smil><video src="{uri}"/>&x;</smil>',
)


@dataclass(frozen=True)
class Kind:
    """What a case is made from, and what the child does with case and seed, answering with an exit code."""

    seeds: Sequence[Path]
    work: Callable[[Path, Path], int]
    promised: frozenset[int] = frozenset({0, 1, 2})


@dataclass
class Tally:
    """What came of the cases of one kind."""

    codes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    largest_bytes: int = 0


def mutated(data: bytes, dice: random.Random, other: bytes) -> bytes:
    """A damaged copy: bits, runs, edge values, pieces doubled, cut out or taken from another file."""
    found = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4, 16, 64))):
        if len(found) < 16:
            break
        heads = dice.random() < 0.6  # most of the structure lies at the ends of a file
        span = min(len(found), 2048) if heads else len(found)
        at = dice.randrange(span)
        if heads and dice.random() < 0.5:
            at = len(found) - 1 - at
        match dice.randrange(8):
            case 0 | 1:
                found[at] ^= 1 << dice.randrange(8)
            case 2:
                found[at] = dice.randrange(256)
            case 3:
                length = dice.choice((1, 2, 4, 8))
                found[at : at + length] = dice.choice(EDGES) * length
            case 4:
                length = dice.randrange(1, min(len(found), 4096))
                del found[at : at + length]
            case 5:
                length = dice.randrange(1, 256)
                found[at:at] = found[at : at + length] * dice.choice((1, 2, 32))
            case 6:
                start, length = dice.randrange(len(other)), dice.randrange(1, 1024)
                found[at : at + length] = other[start : start + length]
            case _:
                if dice.random() < 0.3:
                    del found[at:]
    return bytes(found)


def run_clip(path: Path, seed: Path) -> int:
    """Everything that a person does with a clip: look, deblur without a network, compare, keep the rest."""
    from vdeblur.cli.main import main

    main(["info", path.name])
    words = [path.name, "--strength", "0", "--preset", "ultrafast", "--codec", "h264", "-o", "out.mkv"]
    code = main(words)
    if code == 2:
        return main([*words, "--keep-partial"])
    return code


def run_journal(path: Path, seed: Path) -> int:
    """Goes on from a journal of which one file is damaged; what comes out must be the whole clip."""
    from vdeblur.cli.main import main
    from vdeblur.video.verify import verify

    _small_segments()
    journal = path.parent / seed.parent.name
    shutil.copytree(seed.parent, journal)
    (journal / seed.name).write_bytes(path.read_bytes())
    path.unlink()
    shutil.copy(seed.parent.parent / "in.mkv", path.parent / "in.mkv")
    code = main(JOURNAL_WORDS)
    if code == 2:  # refused: then begin anew
        code = main([*JOURNAL_WORDS, "--restart"])
    if code == 0 and verify("in.mkv", "out.mkv").faults:
        return 97
    for name in ("in.mkv", "out.mkv"):
        Path(name).unlink(missing_ok=True)
    return code


def _small_segments() -> None:
    from vdeblur.jobs import deblur
    from vdeblur.video.segments import Rule

    run = deblur.run
    deblur.run = lambda plan, tell, *rest: run(plan, tell, Rule(Fraction(1, 10), 8))


def make_journal(folder: Path) -> list[Path]:
    """The files of a journal that a stopped run has left."""
    import faults
    from video import media

    folder.mkdir()
    media.write_clip(folder / "in.mkv", frames=40, audio=[{"codec": "aac", "language": "eng"}])
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        _small_segments()
        faults.plant("encode", 30, "SIGKILL")
        from vdeblur.cli.main import main

        os._exit(main([*JOURNAL_WORDS, "--quiet"]))
    os.waitpid(child, 0)
    return sorted((folder / ".out.mkv.vdeblur").glob("[m0-9]*"))


def run_weights(path: Path, seed: Path) -> int:
    from vdeblur.weights.loading import load_network

    return _code_of(load_network, path)


def run_recipe(path: Path, seed: Path) -> int:
    from vdeblur.learn.recipe import read_recipe

    return _code_of(read_recipe, path)


def _code_of(read: Callable[[Path], object], path: Path) -> int:
    """What the command line would end with."""
    from vdeblur.errors import VdeblurError

    try:
        read(path)
    except VdeblurError as error:
        print(f"vdeblur: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def make_seeds(folder: Path, clips: Sequence[Path]) -> dict[str, Kind]:
    """Clips of the tests' own making and those given, checkpoints, recipes, playlists."""
    import torch
    from safetensors.torch import save_file
    from video import media

    from vdeblur.models.mimo_unet import MimoUNet

    made = [media.make(kind, folder).path for kind in media.KINDS]
    small = MimoUNet(channels=4, blocks=1).state_dict()
    save_file({k: v.contiguous() for k, v in small.items()}, folder / "w.safetensors")
    torch.save({"model": small}, folder / "w.pth")
    torch.save({"state_dict": small}, folder / "w.pt", _use_new_zipfile_serialization=False)
    lists = []
    for number, text in enumerate(PLAYLISTS):
        path = (
            folder / f"list{number}{('.m3u8', '.m3u8', '.ffconcat', '.pls', '.sdp', '.mpd', '.smil')[number]}"
        )
        path.write_text(text.format(uri=f"file:{made[0]}", port=5004), encoding="utf-8")
        lists.append(path)
    return {
        "clip": Kind([*made, *clips], run_clip),
        "weights": Kind([folder / f"w.{s}" for s in ("safetensors", "pth", "pt")], run_weights),
        "recipe": Kind(sorted((ROOT / "vdeblur/learn/configs").glob("*.toml")), run_recipe),
        "playlist": Kind(lists, run_clip),
        "journal": Kind(make_journal(folder / "journal"), run_journal, frozenset({0, 2})),
    }


def one(kind: Kind, case: Path, seed: Path) -> tuple[str, str | None, float, int]:
    """Run a case in a child; (how it ended, what is wrong or None, seconds, most bytes in memory)."""
    before = set(os.listdir(case.parent))
    said = case.parent.parent / "said"
    began = time.monotonic()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _child(kind, case, seed, said)
    status, usage = _wait(child, began + LIMIT_S)
    took, text = time.monotonic() - began, said.read_text(encoding="utf-8", errors="replace")
    left = sorted(set(os.listdir(case.parent)) - before - {"out.mkv", "out.suspect.mkv"})
    if status is None:
        return "hang", "outlived its time", took, usage
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return name, f"died of {name}", took, usage
    code = os.WEXITSTATUS(status)
    errors = [line for line in text.splitlines() if line.startswith("vdeblur: ")]
    wrong = None
    if code not in kind.promised:
        wrong = f"exit code {code}: {text.strip()[-300:]}"
    elif "Traceback" in text:
        wrong = f"a traceback: {text.strip()[-600:]}"
    elif "(--debug shows where)" in text:
        wrong = f"an error that nobody foresaw: {errors[-1]}"
    elif code and not errors:
        wrong = f"exit code {code} without a word"
    elif left:
        wrong = f"left behind: {', '.join(left)}"
    if code == 1 and wrong is None:
        print(f"{case.name}: {errors[-1]}", flush=True)
    return str(code), wrong, took, usage


def _child(kind: Kind, case: Path, seed: Path, said: Path) -> None:
    code = 99
    try:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + LIMIT_BYTES, size + LIMIT_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 20, 256 << 20))
        os.chdir(case.parent)
        with said.open("w", encoding="utf-8", errors="replace") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                code = kind.work(case, seed)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 98
    except BaseException:
        import traceback

        with contextlib.suppress(Exception), said.open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
    os._exit(code)


def _wait(child: int, until: float) -> tuple[int | None, int]:
    while time.monotonic() < until:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return status, usage.ru_maxrss * 1024
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    _, _, usage = os.wait4(child, 0)
    return None, usage.ru_maxrss * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, metavar="CLIP", help="real clips, or folders of them")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default="", help="only these, comma separated")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for what was found")
    asked = parser.parse_args()
    clips = [p for c in asked.clips for p in (sorted(c.iterdir()) if c.is_dir() else [c]) if p.is_file()]
    dice = random.Random(asked.seed)
    with tempfile.TemporaryDirectory(prefix="vdeblur-fuzz-") as name:
        folder = Path(name)
        (folder / "seeds").mkdir()
        with contextlib.redirect_stderr(io.StringIO()):
            kinds = make_seeds(folder / "seeds", [c for c in clips if c.suffix != ".md"])
        wanted = asked.kinds.split(",") if asked.kinds else list(kinds)
        # Clips have by far the most code behind them.
        weights = {"clip": 6, "weights": 2, "journal": 3, "recipe": 1, "playlist": 1}
        _warm(kinds)
        tallies = {kind: Tally() for kind in wanted}
        ends, number = time.monotonic() + asked.minutes * 60, 0
        while time.monotonic() < ends:
            number += 1
            what = dice.choices(wanted, [weights[k] for k in wanted])[0]
            kind, tally = kinds[what], tallies[what]
            seed, other = dice.choice(kind.seeds), dice.choice(kind.seeds)
            box = folder / "case"
            box.mkdir()
            case = box / f"case{seed.suffix}"
            case.write_bytes(mutated(seed.read_bytes(), dice, other.read_bytes()))
            ended, wrong, took, largest = one(kind, case, seed)
            tally.codes[ended] += 1
            tally.slowest_s, tally.largest_bytes = (
                max(tally.slowest_s, took),
                max(tally.largest_bytes, largest),
            )
            if wrong is not None or ended == "1":  # the latter is promised, and still worth a look
                asked.keep.mkdir(parents=True, exist_ok=True)
                kept = asked.keep / f"{what}-{asked.seed}-{number}-{seed.stem}{seed.suffix}"
                kept.write_bytes(case.read_bytes())
            if wrong is not None:
                tally.findings.append(f"{kept.name}: {wrong}")
                print(f"FOUND {kept.name}: {wrong}", flush=True)
            shutil.rmtree(box)
            if number % 200 == 0:
                print(f"{number} cases, {(ends - time.monotonic()) / 60:.0f} min to go", flush=True)
    return _table(tallies, asked)


def _warm(kinds: dict[str, Kind]) -> None:
    """Import in the parent what children need; nothing that starts threads may run here."""
    import av  # noqa: F401
    import safetensors.torch  # noqa: F401

    import vdeblur.cli.main
    import vdeblur.cli.progress
    import vdeblur.cli.show
    import vdeblur.jobs.deblur
    import vdeblur.learn.recipe
    import vdeblur.video.verify
    import vdeblur.weights.loading  # noqa: F401


def _table(tallies: dict[str, Tally], asked: argparse.Namespace) -> int:
    print(f"\n{'kind':<10} {'cases':>6}  {'slowest':>8}  {'memory':>8}  {'findings':>8}  ended with")
    for what, tally in tallies.items():
        ended = ", ".join(f"{code}: {count}" for code, count in sorted(tally.codes.items()))
        memory = f"{tally.largest_bytes >> 20} MiB"
        print(
            f"{what:<10} {tally.codes.total():>6}  {tally.slowest_s:>6.1f} s  {memory:>8}  "
            f"{len(tally.findings):>8}  {ended}"
        )
    found = sum(len(t.findings) for t in tallies.values())
    if found:
        print(f"findings are kept in {asked.keep}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
