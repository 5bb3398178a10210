"""Bad input: one clear line, exit code 2 (1 where the request was sound), and nothing written."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from video import media

import vdeblur
from vdeblur.cli.main import main
from vdeblur.errors import InputError

Scene = Callable[[Path], list[str]]


def clip(words: str, **files: bytes) -> Scene:
    """A sound video, in.mp4, with other files beside it, and what is asked for."""

    def scene(folder: Path) -> list[str]:
        media.write_clip(folder / "in.mp4")
        only(**files)(folder)
        return words.split()

    return scene


def only(**files: bytes) -> Scene:
    """Files of these names (a dot is written as `_`), all of them asked for."""

    def scene(folder: Path) -> list[str]:
        names = [name.replace("_", ".") for name in files]
        for name, data in zip(names, files.values(), strict=True):
            (folder / name).write_bytes(data)
        return names

    return scene


def audio_only(folder: Path) -> list[str]:
    import av
    import numpy as np

    with av.open(str(folder / "song.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=48000, layout="mono")
        for start in range(0, 48000, 1024):
            block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            block.sample_rate, block.pts = 48000, start
            output.mux(stream.encode(block))
        output.mux(stream.encode(None))
    return ["song.mp4"]


def empty_folder(folder: Path) -> list[str]:
    (folder / "clips").mkdir()
    (folder / "clips" / "readme.txt").write_text("none here", encoding="utf-8")
    return ["clips"]


def truncated(suffix: str, **options: Any) -> Scene:
    def scene(folder: Path) -> list[str]:
        whole = media.write_clip(folder / f"whole{suffix}", frames=40, **options)
        media.cut_off(whole.path, folder / f"cut{suffix}")
        whole.path.unlink()
        return [f"cut{suffix}"]

    return scene


class Loud:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code in the weights file ran",)


def weights_with_nan(folder: Path) -> list[str]:
    import torch

    from vdeblur.models.mimo_unet import MimoUNet

    state = MimoUNet(channels=8, blocks=1).state_dict()
    next(iter(state.values()))[0] = float("nan")
    torch.save({"model": state}, folder / "w.pkl")
    media.write_clip(folder / "in.mp4")
    return ["in.mp4", "--weights", "w.pkl"]


TEXT, PASSED = b"The quick brown fox.\n", "in.mp4 --strength 0"
CASES: dict[str, tuple[Scene, str]] = {
    "missing file": (lambda folder: ["missing.mp4"], "missing.mp4"),
    "folder without videos": (empty_folder, "without videos"),
    "text file": (only(notes_txt=TEXT * 60_000), "notes.txt"),
    "text named mp4": (only(notes_mp4=TEXT * 100), "notes.mp4"),
    "empty file": (only(empty_mkv=b""), "empty.mkv"),
    "audio only": (audio_only, "no video"),
    "truncated mp4": (truncated(".mp4", container_options={"movflags": "faststart"}), "cut.mp4"),
    "truncated mkv": (truncated(".mkv"), "cut.mkv"),
    "unknown model": (clip("in.mp4 --model mimo-unet-smal"), "mimo-unet-small"),
    "model without weights": (clip("in.mp4 --model mimo-unet-plus"), "import"),
    "wrong weights": (clip("in.mp4 --weights w.pt", w_pt=b"not weights at all"), "w.pt"),
    "weights with code": (clip("in.mp4 --weights w.pkl", w_pkl=pickle.dumps({"model": Loud()})), "w.pkl"),
    "weights with NaN": (weights_with_nan, "w.pkl"),
    "target folder missing": (clip(f"{PASSED} -o no/such/folder/out.mp4"), "no/such/folder"),
    "target is source": (clip(f"{PASSED} -o ./in.mp4 --overwrite"), "in.mp4"),
    "target exists": (clip(f"{PASSED} -o out.mp4", out_mp4=b"precious"), "--overwrite"),
    "impossible pair": (clip(f"{PASSED} --codec prores -o out.webm"), "webm"),
    "unknown encoder option": (
        clip(f"{PASSED} --encoder-option no_such_option=1 -o out.mp4"),
        "no_such_option",
    ),
    "unknown codec": (clip(f"{PASSED} --codec h9000 -o out.mp4"), "h9000"),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_refused_in_one_line_and_nothing_written(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    scene, must_say = CASES[case]
    monkeypatch.chdir(tmp_path)
    words = scene(tmp_path)
    before = contents(tmp_path)
    capfd.readouterr()
    code = main(words)
    said = capfd.readouterr()
    errors = [line for line in said.err.splitlines() if not line.startswith("note: ")]
    assert code == 2, said.err
    assert len(errors) == 1, said.err
    assert must_say in errors[0]
    assert "Traceback" not in said.err
    assert said.out == ""
    assert contents(tmp_path) == before


def test_keep_partial_keeps_what_can_be_decoded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (name,) = truncated(".mkv")(tmp_path)
    out = tmp_path / "out.mkv"
    assert main([str(tmp_path / name), "-o", str(out), "--strength", "0", "--keep-partial"]) == 0
    assert out.stat().st_size > 0
    assert "breaks off" in capfd.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="pipes with names")
def test_a_pipe_by_name_is_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "in.ts")
    assert main([str(tmp_path / "in.ts"), "-o", str(tmp_path / "out.ts")]) == 2
    assert "read as - (stdin)" in capsys.readouterr().err


def test_a_source_is_its_own_target_under_any_name(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mp4", frames=3)
    before = made.path.read_bytes()
    words = ["-o", str(made.path), "--overwrite", "--strength", "0"]
    assert main([f"file:{made.path}", *words]) == 2
    with made.path.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "vdeblur", "-", *words],
            stdin=file,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.returncode, "same file" in done.stderr) == (2, True)
    assert made.path.read_bytes() == before
    assert main([f"file:{made.path}", "--strength", "0"]) == 0
    assert (tmp_path / "in.deblurred.mp4").is_file()


def test_a_link_to_nowhere_is_not_replaced_unasked(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "in.mp4", frames=3)
    link = tmp_path / "out.mp4"
    link.symlink_to(tmp_path / "gone.mp4")
    assert main([str(made.path), "-o", str(link), "--strength", "0"]) == 2
    assert link.is_symlink()


def test_names_with_colons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media.write_clip(tmp_path / "x.mp4", frames=30)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.mp4").rename("x:y.mp4")
    assert main(["x:y.mp4", "-o", "q:r.mp4", "--strength", "0"]) == 0
    assert main(["q:r.mp4", "--strength", "0"]) == 0
    assert sorted(os.listdir()) == ["q:r.deblurred.mp4", "q:r.mp4", "x:y.mp4"]


@pytest.mark.parametrize("asked", [("verify", "all"), ("compare", "top"), ("encoder", "x"), ("hwaccel", "x")])
def test_choices_that_python_callers_make_up_are_refused(asked: tuple[str, str], tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "a.mp4", frames=3)
    with pytest.raises(InputError, match=f"^--{asked[0]} {asked[1]}: not known, choose"):
        vdeblur.deblur_file(made.path, strength=0.0, **dict([asked]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_weights_may_be_named_by_a_string(tmp_path: Path) -> None:
    made = media.write_clip(tmp_path / "a.mp4", frames=3)
    with pytest.raises(InputError, match=r"nope\.pt: there is no such weights file"):
        vdeblur.deblur_file(str(made.path), weights="nope.pt")
