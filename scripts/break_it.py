"""Break the program on purpose, hundreds of times, and see whether it keeps its word.

    python scripts/break_it.py [--runs 20] [--seed 0] [--only FAULT] [CLIP or FOLDER ...]

Each fault (`tests/faults.py`: a step that fails, stalls, answers nonsense or runs out of memory, a signal, a
source that goes) happens at a random step or moment of a run on a small clip, with real decoder, encoder and
engine around a network that has learnt nothing.  After every run:

- the target is absent or whole, never half; exit code and one line are those that were promised
- no thread, process, lock or file is left but the journal
- a plain run after it ends in the file of an uninterrupted run: the same frames bit for bit, the same times,
  packets of other streams, chapters and tags; and beside it nothing

Prints a table; the exit code is 1 if any run broke a promise.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # children are forked: no pool of threads may exist in the parent
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "engine")]

import faults  # noqa: E402

LIMIT_S = 90.0  # a hang
AFTER_STOP_S = 20.0  # from a signal to the end of the process
SEGMENT_FRAMES = 10
CLIPS = ("b_frames_audio", "vfr_mkv", "tracks_chapters_mkv", "late_start", "420_10_hlg", "mpegts")


@dataclass(frozen=True)
class Fault:
    """What is done, where, and the exit codes it may have; `done` is with a whole target only."""

    name: str
    kind: str
    sites: tuple[str, ...]
    codes: frozenset[int]


def _faults() -> list[Fault]:
    steps = faults.SITES
    files = ("mux", "close", "write", "sync", "rename")
    done, failed, refused, stopped = 0, 1, 2, 130
    rows = [
        ("packet does not decode", "garbage", ("decode",), {done, refused}),
        ("decoder stalls, Ctrl-C", "stall", ("decode",), {stopped}),
        ("engine raises", "error", ("engine",), {failed}),
        ("network gives NaN", "nan", ("network",), {done}),
        ("network gives a wrong size", "size", ("network",), {done, failed}),
        ("encoder fails", "encoder", ("encode",), {failed}),
        ("disk full", "ENOSPC", files, {failed}),
        ("input/output error", "EIO", files, {failed}),
        ("no permission", "EACCES", files, {failed}),
        ("source vanishes", "vanish", ("decode",), {done, failed, refused}),
        ("source grows", "grow", ("decode",), {done, failed, refused}),
        ("device out of memory", "oom", ("network",), {done}),
        ("SIGINT at a step", "SIGINT", steps, {stopped}),
        ("SIGTERM at a step", "SIGTERM", steps, {stopped}),
        ("SIGKILL at a step", "SIGKILL", steps, {-signal.SIGKILL}),
        ("SIGINT at any moment", "moment SIGINT", (), {done, stopped}),
        ("SIGTERM at any moment", "moment SIGTERM", (), {done, stopped}),
        ("SIGKILL at any moment", "moment SIGKILL", (), {done, -signal.SIGKILL}),
        ("five SIGKILLs in a row", "row SIGKILL", (), {done, -signal.SIGKILL}),
        ("reader of stdout gone", "stdout", (), {failed}),
        ("disk of 60 kB", "disk", (), {done, failed}),
    ]
    return [Fault(name, kind, tuple(sites), frozenset(codes)) for name, kind, sites, codes in rows]


@dataclass
class Subject:
    """A clip, what a plain run makes of it, how long that takes and how often each step is taken.

    `large` ones can be cut into smaller tiles; `facts` are empty where two plain runs differ by themselves.
    """

    source: Path
    suffix: str
    large: bool = False
    facts: str = ""
    seconds: float = 0.0
    steps: Counter[str] = field(default_factory=Counter)


@dataclass
class Tally:
    """Of one fault."""

    runs: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    whole: int = 0
    journals: int = 0
    broken: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ended:
    """How a child ended: exit code (negative: signal, None: it hung), and all that it said."""

    code: int | None
    said: str
    seconds: float

    @property
    def errors(self) -> list[str]:
        return [line for line in self.said.splitlines() if line.startswith("vdeblur: ")]


def work(box: Path, subject: Subject, plan: tuple[str, int, str] | None, counted: Path | None) -> int:
    """In the child: one run of the command with a stand-in network, small segments, and perhaps a fault."""
    from standins import Darker

    from vdeblur.cli.main import main
    from vdeblur.engine.deblurrer import Deblurrer
    from vdeblur.jobs import deblur
    from vdeblur.video.segments import Rule

    network = Darker()
    Deblurrer.load = lambda *a, **o: Deblurrer(network, device="cpu", precision="fp32", backend="torch")
    run = deblur.run
    rule = Rule(Fraction(1, 10), SEGMENT_FRAMES)
    deblur.run = lambda plan, tell, *rest: run(plan, tell, rule)
    seen = faults.count() if counted is not None else None
    if plan is not None:
        faults.plant(*plan)
    words = [f"in{subject.source.suffix}", "-o", f"out{subject.suffix}", "--preset", "ultrafast"]
    code = main([*words, "--model", "mimo-unet-tiny"])
    if counted is not None and seen is not None:
        counted.write_text("\n".join(f"{site} {times}" for site, times in seen.items()), encoding="utf-8")
    return code


def started(box: Path, said: Path, *args: Any, stdout: int | None = None) -> int:
    """Fork a child that does `work` in a folder; its process id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        os.chdir(box)
        with said.open("w", encoding="utf-8", errors="replace") as file:
            os.dup2(file.fileno() if stdout is None else stdout, 1)
            os.dup2(file.fileno(), 2)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1)
            import vdeblur.cli.progress as progress

            progress._err.file = sys.stderr
            code = work(box, *args)
            for _ in range(100):
                others = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
                if not others:
                    break
                time.sleep(0.02)
            else:
                print(f"LEFT threads: {', '.join(others)}", file=sys.stderr)
            with contextlib.suppress(BrokenPipeError):
                sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        import traceback

        traceback.print_exc(file=sys.__stderr__)
        with contextlib.suppress(Exception), said.open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
    os._exit(code)


def ended(child: int, said: Path, began: float, limit_s: float) -> Ended:
    status: int | None = None
    while time.monotonic() < began + limit_s:
        done, found = os.waitpid(child, os.WNOHANG)
        if done:
            status = found
            break
        time.sleep(0.002)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    text = said.read_text(encoding="utf-8", errors="replace") if said.exists() else ""
    code = None if status is None else os.waitstatus_to_exitcode(status)
    return Ended(code, text, time.monotonic() - began)


def plain_run(box: Path, subject: Subject, *args: Any) -> Ended:
    began = time.monotonic()
    said = box.parent / "said"
    return ended(started(box, said, subject, *(args or (None, None))), said, began, LIMIT_S)


def facts(path: Path) -> str:
    """All that must stay: every frame, every time, every packet of other streams, chapters and tags."""
    import av
    import numpy as np

    from vdeblur.video.contents import read_contents
    from vdeblur.video.formats import views

    found = hashlib.blake2b()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            found.update(f"{frame.pts} {frame.time_base} {frame.format.name}".encode())
            for plane in views(frame):
                found.update(np.ascontiguousarray(plane))
    held = read_contents(str(path))
    for track in held.others:
        labels = (track.kind, track.codec, track.disposition, sorted(track.tags.items()))
        found.update(repr(labels).encode())
        found.update(bytes(track.digests) + bytes(track.pts) + bytes(track.durations))
    found.update(repr((held.chapters, sorted(held.tags.items()), held.video.tags)).encode())
    shown = held.picture
    assert shown is not None
    found.update(repr((shown.colour, shown.hdr, shown.display_matrix, shown.interlaced)).encode())
    return found.hexdigest()


def is_whole(path: Path, subject: Subject) -> str | None:
    """What is wrong with a target, as `vdeblur verify` sees it; frames that were refused may differ."""
    from vdeblur.errors import InputError
    from vdeblur.video.verify import verify

    try:
        receipt = verify(str(subject.source), str(path))
    except InputError as error:
        return str(error)
    return receipt.faults[0].line() if receipt.faults else None


class Campaign:
    """Runs in a folder of its own, one after the other."""

    def __init__(self, folder: Path, subjects: list[Subject], dice: random.Random) -> None:
        self.folder, self.subjects, self.dice = folder, subjects, dice
        self.tallies: dict[str, Tally] = {}

    def run(self, fault: Fault) -> None:
        tally = self.tallies.setdefault(fault.name, Tally())
        subject = self.dice.choice([s for s in self.subjects if s.large or fault.kind != "oom"])
        box = self.folder / "box"
        shutil.rmtree(box, ignore_errors=True)
        box.mkdir()
        shutil.copy(subject.source, box / f"in{subject.source.suffix}")
        first, plan = self._broken(fault, box, subject)
        tally.runs += 1
        tally.codes[first.code if first.code is not None else -999] += 1
        where = f"{subject.source.name} {plan}"
        for wrong in self._wrongs(fault, box, subject, first, plan, tally):
            tally.broken.append(f"{where}: {wrong}")
            print(f"BROKEN {fault.name}: {where}: {wrong}", flush=True)

    def _broken(self, fault: Fault, box: Path, subject: Subject) -> tuple[Ended, Any]:
        said, began = self.folder / "said", time.monotonic()
        if fault.kind.startswith(("moment", "row")):
            number = getattr(signal, fault.kind.split()[1])
            for _ in range(5 if fault.kind.startswith("row") else 1):
                delay, began = self.dice.uniform(0.0, 1.1) * subject.seconds, time.monotonic()
                child = started(box, said, subject, None, None)
                time.sleep(delay)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, number)
                result = ended(child, said, began, delay + AFTER_STOP_S)
                if result.code == 0:
                    break
            return result, f"after {delay:.2f} s"
        if fault.kind == "stdout":
            reader, writer = os.pipe()
            os.close(reader)
            child = started(box, said, subject, None, None, stdout=writer)
            os.close(writer)
            return ended(child, said, began, LIMIT_S), ""
        if fault.kind == "disk":
            return self._small_disk(box, subject)
        sites = [site for site in fault.sites if subject.steps[site]]
        site = self.dice.choice(sites)
        plan = (site, self.dice.randint(1, subject.steps[site]), fault.kind)
        child = started(box, said, subject, plan, None)
        if fault.kind == "stall":
            time.sleep(min(1.0, subject.seconds) + faults.STALL_S / 3)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGINT)
        return ended(child, said, began, LIMIT_S), plan

    def _small_disk(self, box: Path, subject: Subject) -> tuple[Ended, Any]:
        """A limit on the size of files stands in for the full disk: it needs no privilege."""
        import resource

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = self.dice.randint(1000, 60_000)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            began, said = time.monotonic(), self.folder / "said"
            child = started(box, said, subject, None, None)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        return ended(child, said, began, LIMIT_S), f"files of {size} bytes at most"

    def _wrongs(
        self, fault: Fault, box: Path, subject: Subject, first: Ended, plan: Any, tally: Tally
    ) -> list[str]:
        """Every promise that a run broke."""
        wrongs = []
        source, target = box / f"in{subject.source.suffix}", box / f"out{subject.suffix}"
        journal = box / f".{target.name}.vdeblur"
        killed = first.code == -signal.SIGKILL
        if first.code is None:
            wrongs.append(f"hangs: {first.said.strip()[-200:]}")
        elif first.code not in fault.codes and not (first.code == 0 and self._may_be_missed(plan)):
            wrongs.append(f"exit code {first.code}: {first.said.strip()[-300:]}")
        if "Traceback" in first.said or "LEFT" in first.said:
            wrongs.append(first.said.strip()[-500:])
        if not killed and first.code not in (0, None) and len(first.errors) != 1 and fault.kind != "stdout":
            wrongs.append(f"{len(first.errors)} lines of error: {first.said.strip()[-300:]}")
        if target.exists():
            tally.whole += 1
            # A source with a damaged packet has a frame less than the clip that we compare with.
            if fault.kind != "garbage" and (why := is_whole(target, subject)):
                wrongs.append(f"the target is damaged: {why}")
        elif first.code == 0:
            wrongs.append("exit code 0 and no target")
        left = {p.name for p in box.iterdir()} - {source.name, target.name}
        if journal.name in left:
            tally.journals += 1
            left.remove(journal.name)
            inside = [p.name for p in journal.iterdir() if p.name.startswith(".")]
            if inside and not killed:
                wrongs.append(f"unfinished files in the journal: {', '.join(inside)}")
        if left and not killed:
            wrongs.append(f"left behind: {', '.join(sorted(left))}")
        shutil.copy(subject.source, source)
        if target.exists():
            target.unlink()  # it was looked at above; the plain run makes it again
        again = plain_run(box, subject)
        if again.code != 0:
            wrongs.append(f"the next run ends with {again.code}: {again.said.strip()[-300:]}")
        elif not subject.facts:
            if why := is_whole(target, subject):
                wrongs.append(f"the next run gives a damaged file: {why}")
        elif (found := facts(target)) != subject.facts:
            wrongs.append(f"the next run gives another file ({found[:8]})")
        left = {p.name for p in box.iterdir()} - {source.name, target.name}
        if left:
            wrongs.append(f"after the next run there is {', '.join(sorted(left))}")
        return wrongs

    def _may_be_missed(self, plan: Any) -> bool:
        """Steps of looking at a whole file: what fails there cannot take it away any more."""
        return isinstance(plan, tuple) and plan[0] in ("verify", "sync", "network")


def _warm() -> None:
    """Import in the parent what children need; nothing that starts threads may run here."""
    import standins  # noqa: F401

    import vdeblur.cli.main
    import vdeblur.cli.progress
    import vdeblur.engine.deblurrer
    import vdeblur.engine.eager
    import vdeblur.jobs.deblur
    import vdeblur.jobs.ends
    import vdeblur.video.verify  # noqa: F401


def make_subjects(folder: Path, given: list[Path]) -> list[Subject]:
    """Clips of the tests' own making, a few segments long, and those given; each run once undisturbed."""
    from video import media

    found = []
    (folder / "clips").mkdir()
    for kind in CLIPS:
        changes: dict[str, Any] = {"frames": 36}
        if "pts" in media.KINDS[kind][1]:
            start = media.KINDS[kind][1]["pts"][0]
            base = media.KINDS[kind][1].get("time_base", Fraction(1, 90000))
            changes = {"pts": media.vfr_pts(36, 3, step=int(Fraction(1, 28) / base), start=start)}
        path = media.make(kind, folder / "clips", **changes).path
        found.append(Subject(path, path.suffix))
    large = media.write_clip(folder / "clips" / "large.mkv", size=(640, 360), frames=14).path
    found.append(Subject(large, large.suffix, large=True))
    found += [Subject(path, path.suffix) for path in given]
    usable = []
    for subject in found:
        box = folder / "first"
        box.mkdir()
        shutil.copy(subject.source, box / f"in{subject.source.suffix}")
        counted = folder / "counted"
        done = plain_run(box, subject, None, counted)
        if done.code != 0:
            print(f"{subject.source.name}: not used, {(done.errors or ['?'])[-1]}")
        else:
            lines = counted.read_text(encoding="utf-8").split("\n")
            subject.steps.update({line.split()[0]: int(line.split()[1]) for line in lines})
            subject.seconds, subject.facts = done.seconds, facts(box / f"out{subject.suffix}")
            (box / f"out{subject.suffix}").unlink()
            if plain_run(box, subject).code != 0 or facts(box / f"out{subject.suffix}") != subject.facts:
                # x264 in 4:4:4 with a fast preset does so, undisturbed and in one thread.
                print(f"{subject.source.name}: two plain runs differ; the next file is only seen to be whole")
                subject.facts = ""
            usable.append(subject)
        shutil.rmtree(box)
    return usable


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, metavar="CLIP", help="real clips, or folders of them")
    parser.add_argument("--runs", type=int, default=25, help="of each fault (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="faults whose name contains this")
    asked = parser.parse_args()
    given = [p for c in asked.clips for p in (sorted(c.iterdir()) if c.is_dir() else [c]) if p.is_file()]
    began = time.monotonic()
    _warm()
    memory = Path("/dev/shm")  # where bringing a file to the disk costs nothing
    with tempfile.TemporaryDirectory(
        prefix="vdeblur-break-", dir=memory if memory.is_dir() else None
    ) as name:
        subjects = make_subjects(Path(name), [p for p in given if p.suffix not in (".md", ".txt")])
        for subject in subjects:
            print(f"{subject.source.name}: {subject.seconds:.2f} s, {dict(subject.steps)}", flush=True)
        campaign = Campaign(Path(name), subjects, random.Random(asked.seed))
        for fault in _faults():
            if asked.only in fault.name:
                for _ in range(asked.runs):
                    campaign.run(fault)
                print(f"{fault.name}: done after {(time.monotonic() - began) / 60:.1f} min", flush=True)
    _table(campaign.tallies, time.monotonic() - began)
    return 1 if any(tally.broken for tally in campaign.tallies.values()) else 0


def _table(tallies: dict[str, Tally], seconds: float) -> None:
    width = max(len(name) for name in tallies)
    print(f"\n{'fault':<{width}}  runs  whole  journals  broken  exit codes")
    for name, tally in tallies.items():
        codes = ", ".join(f"{code}: {times}" for code, times in sorted(tally.codes.items()))
        print(
            f"{name:<{width}}  {tally.runs:>4}  {tally.whole:>5}  {tally.journals:>8}  "
            f"{len(tally.broken):>6}  {codes}"
        )
    runs = sum(tally.runs for tally in tallies.values())
    broken = sum(len(tally.broken) for tally in tallies.values())
    print(f"{runs} runs, each followed by a plain one, in {seconds / 60:.1f} min: {broken} promises broken")


if __name__ == "__main__":
    sys.exit(main())
