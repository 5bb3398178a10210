"""The journal of a stopped run: what fits it, what is damaged or forged, who may hold it."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs.resuming import FAST, SHORT, StopError, as_if_never_stopped, digest, forge, record_of, run
from jobs.test_kept_pictures import contents
from video import media
from video.serving import Server, serving
from video.test_trust import LISTS
from video.through import leftovers

from vdeblur.cli.main import main
from vdeblur.errors import InputError, VdeblurError
from vdeblur.jobs import deblur, identity, journal
from vdeblur.jobs.batch import expand
from vdeblur.jobs.identity import options_of, plain_options
from vdeblur.jobs.journal import Journal, folder_of
from vdeblur.jobs.plan import Options, make_plan
from vdeblur.jobs.records import MANIFEST
from vdeblur.weights.store import WeightsRef


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "www").mkdir()
    with serving(tmp_path / "www") as made:
        yield made


def words(target: Path, *more: str) -> list[str]:
    source = target.with_name("in.mp4")
    return [str(source), "-o", str(target), "--strength", "0", "--preset", "ultrafast", *more]


def other_source(target: Path) -> None:
    data = bytearray(target.with_name("in.mp4").read_bytes())
    data[-1] ^= 1
    target.with_name("in.mp4").write_bytes(bytes(data))


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize(
    ("more", "change", "says"),
    [
        (["--crf", "30"], None, "--crf was not given and is 30"),
        (["--deinterlace"], None, "--deinterlace was not given and is given"),
        ([], other_source, "the source changed"),
    ],
)
def test_what_has_changed_is_named_and_restart_begins_anew(
    more: list[str], change: Any, says: str, unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if change is not None:
        change(unfinished)
    before = {p.name: p.read_bytes() for p in folder_of(unfinished).iterdir()}
    assert main(words(unfinished, *more)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert "--restart" in line
    assert {p.name: p.read_bytes() for p in folder_of(unfinished).iterdir()} == before
    assert main(words(unfinished, *more, "--restart")) == 0
    assert "50 of 50 frames on time" in capsys.readouterr().out
    assert leftovers(unfinished.parent) == []


@pytest.mark.parametrize("what", ["weights", "version", "torch", "encoder"])
def test_other_weights_or_versions_are_refused(
    what: str, unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(str(unfinished.with_name("in.mp4")), unfinished, Options(**FAST))
    asked = identity.made_with(plan, SHORT)
    if what == "version":
        monkeypatch.setattr(identity, "__version__", "0.0.1")
    elif what == "torch":
        monkeypatch.setattr(identity.metadata, "version", lambda name: "0.0.1")
    elif what == "encoder":
        other = dataclasses.replace(plan.output, pix_fmt="yuv444p") if plan.output else None
        plan = dataclasses.replace(plan, output=other)
    else:
        plan = dataclasses.replace(plan, weights=WeightsRef("mine", Path(__file__), None))
    assert identity.made_with(plan, SHORT) != asked
    with pytest.raises(InputError, match=r"unfinished run .* but .*restart"):
        deblur.run(plan, rule=SHORT)


@pytest.mark.usefixtures("short_segments")
def test_a_restart_that_was_stopped_is_not_begun_anew_again(
    unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = unfinished.with_name("in.mp4")
    with pytest.raises(StopError) as caught:
        run(source, unfinished, stop_at=33, restart=True)
    assert "the same command without --restart goes on from there" in str(caught.value.__notes__)
    assert main(["resume", str(unfinished.parent)]) == 0
    assert "goes on after the 30 frames that are done" in capsys.readouterr().err


def test_a_second_run_on_the_same_target_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mp4", frames=60)
    target = tmp_path / "out.mp4"
    refused = []

    def tell(event: deblur.Event) -> None:
        if isinstance(event, deblur.Progress) and event.frames == 30:
            with pytest.raises(InputError, match="another run is writing it") as stop:
                run(made.path, target, restart=True)
            refused.append(stop)

    deblur.run(make_plan(str(made.path), target, Options(**FAST)), tell, SHORT)
    assert refused
    assert leftovers(tmp_path) == []


@pytest.mark.usefixtures("short_segments")
def test_a_dead_run_holds_no_lock_and_its_debris_is_cleaned(tmp_path: Path) -> None:
    """Killed before its first segment was finished, and with a file in its folder that is not ours."""
    made = media.write_clip(tmp_path / "in.mp4", frames=60)
    target = tmp_path / "out.mp4"
    folder = folder_of(target)
    folder.mkdir()
    for name in ("lock", ".out.0123abcd.mp4", "000001.mp4", ".manifest.json.tmp"):
        (folder / name).write_bytes(b"?")
    assert run(made.path, target).ledger.restored == 0
    assert leftovers(tmp_path) == []
    folder.mkdir()
    (folder / "diary.txt").write_text("mine", encoding="utf-8")
    run(made.path, target, overwrite=True)
    assert [p.name for p in folder.iterdir()] == ["diary.txt"]


@pytest.mark.parametrize("harm", ["cut", "flip", "gone", "record", "listed"])
def test_a_damaged_segment_is_made_again(harm: str, unfinished: Path) -> None:
    folder = folder_of(unfinished)
    victim = folder / ("000002.json" if harm == "record" else "000002.mp4")
    data = bytearray(victim.read_bytes())
    if harm == "cut":
        victim.write_bytes(data[:-10])
    elif harm == "gone":
        victim.unlink()
    elif harm == "listed":
        manifest = (folder / "manifest.json").read_text(encoding="utf-8")
        (folder / "manifest.json").write_text(manifest.replace("000002.json", "../../x.json"))
    else:
        data[len(data) // 2] ^= 1
        victim.write_bytes(data)
    result = run(unfinished.with_name("in.mp4"), unfinished)
    assert result.ledger.restored == 10
    as_if_never_stopped(unfinished)


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("name", ["playlist.m3u8", "map.m3u8", "list.ffconcat", "concat"])
@pytest.mark.parametrize("reaches", ["file", "network"])
def test_a_list_in_the_place_of_a_segment_opens_nothing(
    name: str, reaches: str, unfinished: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """A journal from a stranger, sound in all its digests."""
    folder, canary = folder_of(unfinished), unfinished.parent / "www" / "canary.mp4"
    shutil.copy(folder / "000001.mp4", canary)  # were it opened, nothing else would be wrong
    uri = f"http://{server.address}/canary.mp4" if reaches == "network" else str(canary)
    data = (LISTS | {"concat": "concat:{uri}"})[name].format(uri=uri).encode()
    (folder / "000001.mp4").write_bytes(data)
    forge(unfinished, 1, bytes=len(data), digest=digest(data))
    assert main(["resume", str(unfinished.parent)]) == 0
    assert "goes on after" not in capsys.readouterr().err  # it is made again, with all that follows
    assert server.asked == []
    as_if_never_stopped(unfinished)


@pytest.mark.parametrize("manifest", [b"", b"{", b"[]", b'{"format": 1}', b"\xff\xfe", b'{"format": 99}'])
def test_a_manifest_that_makes_no_sense_is_refused(
    manifest: bytes, unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder_of(unfinished) / "manifest.json").write_bytes(manifest)
    source = unfinished.with_name("in.mp4")
    with pytest.raises(InputError, match="--restart"):
        run(source, unfinished)
    assert main(["resume", str(unfinished.parent)]) == 2
    assert "--restart" in capsys.readouterr().err
    run(source, unfinished, restart=True)
    assert leftovers(unfinished.parent) == []


def test_the_journal_can_be_kept_and_is_used_again(unfinished: Path) -> None:
    source = unfinished.with_name("in.mp4")
    run(source, unfinished, keep_journal=True)
    assert len(list(folder_of(unfinished).glob("*.mp4"))) == 5
    first = unfinished.read_bytes()
    unfinished.unlink()
    assert run(source, unfinished).ledger.restored == 50
    assert len(unfinished.read_bytes()) == len(first)
    assert leftovers(unfinished.parent) == []


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_what_could_not_be_looked_at_is_not_thrown_away(
    error: BaseException, unfinished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path) -> Any:
        raise error

    before = contents(folder_of(unfinished))
    with monkeypatch.context() as patch:
        patch.setattr(journal, "digest_of", fails)
        with pytest.raises((InputError, KeyboardInterrupt)) as stop:
            run(unfinished.with_name("in.mp4"), unfinished)
    assert isinstance(error, KeyboardInterrupt) or "Input/output error); try again" in str(stop.value)
    assert contents(folder_of(unfinished)) == before
    assert run(unfinished.with_name("in.mp4"), unfinished).ledger.restored == 20


def test_a_segment_that_could_not_be_listed_is_not_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is just full: the segment has found room, the list of segments has not."""
    made = media.write_clip(tmp_path / "in.mp4", frames=50, size=(64, 48))
    write, lists = Journal._write, []

    def full(self: Journal, name: str, data: bytes) -> None:
        lists.append(name) if name == MANIFEST else None
        if len(lists) > 1:
            raise VdeblurError("disk full")
        write(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_write", full)
        with pytest.raises(VdeblurError, match="disk full") as stop:
            run(made.path, tmp_path / "out.mp4")
    assert stop.value.__notes__[0].startswith("10 frames")
    assert run(made.path, tmp_path / "out.mp4").ledger.restored == 10


def test_a_source_that_gives_other_frames_than_before_is_noticed(unfinished: Path) -> None:
    for number in (1, 2):
        times = record_of(unfinished, number)["segment"]["times"]
        forge(unfinished, number, times=[t + 7 for t in times])
    with pytest.raises(VdeblurError, match="gives other frames than before"):
        run(unfinished.with_name("in.mp4"), unfinished)


@pytest.mark.usefixtures("short_segments")
def test_a_folder_of_videos_does_not_take_segments_for_sources(unfinished: Path) -> None:
    folder = unfinished.parent
    assert main([str(folder), "--dry-run", "--strength", "0"]) == 0
    shutil.copytree(folder_of(unfinished), folder / ".keep.vdeblur")
    assert [item.source for item in expand([str(folder)], None)] == [str(folder / "in.mp4")]


def test_a_plan_says_that_a_run_was_stopped_before(
    unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(unfinished.with_name("in.mp4")), "-o", str(unfinished), "--dry-run", "--strength", "0"]
    for more, way in (([], "goes on from there"), (["--restart"], "begins anew")):
        assert main([*words, *more]) == 0
        assert f"an earlier run of it was stopped; this one {way}" in capsys.readouterr().out


def test_what_python_callers_give_can_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = media.write_clip(tmp_path / "in.mp4", frames=3)
    plans: list[Any] = []
    monkeypatch.setattr(deblur, "run", plans.append)
    deblur.deblur_file(made.path, encoder_options={"bf": 0}, start=0.04, weights=__file__, **FAST)
    options = plans[0].options
    assert options.encoder_options == (("bf", "0"),)
    assert options_of(json.loads(json.dumps(plain_options(options)))) == options
