"""`vdeblur train` as users run it: the smoke recipe, Ctrl-C and going on, REDS trees, own video, mistakes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from data import trees
from video import media

from vdeblur.cli import train
from vdeblur.cli.main import main
from vdeblur.learn import checkpoint, judge, loss
from vdeblur.learn.recipe import SHIPPED

pytest.importorskip("cv2", reason="OpenCV does not load here", exc_type=ImportError)

SMOKE = str(SHIPPED / "smoke.toml")


def reds(root: Path, clips: int = 2, frames: int = 2) -> Path:
    """A REDS tree of 80x64 pictures, blurred by five pixels."""
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for clip in range(clips):
            for frame in range(frames):
                sharp = rng.integers(0, 256, (16, 20, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
                blurred = np.mean([np.roll(sharp, s, axis=1) for s in range(-2, 3)], axis=0).astype(np.uint8)
                for kind, pixels in (("sharp", sharp), ("blur", blurred)):
                    path = root / part / f"{part}_{kind}" / f"{clip:03d}" / f"{frame:08d}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    trees.write_png(path, pixels)
    return root


SMALL = {
    "channels": "8", "blocks": "1", "stem": "half", "steps": "4", "batch": "2", "crop": "32", "cut": "48",
    "pool": "4", "warm_up": "1", "workers": "0", "log-every": "2", "validate-pictures": "2",
    "precision": "fp32", "tensorboard": "false",
}  # fmt: skip


def test_the_smoke_recipe_gives_weights_that_all_commands_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", SMOKE, "--output", str(run)]) == 0
    said = capsys.readouterr()
    assert "step 20: " in said.err
    assert "held out pictures come out no better than they are: train for longer" in said.out
    assert said.out.splitlines()[-1] == f"use it: vdeblur VIDEO --weights {run / 'best.pt'}"
    media.write_clip(tmp_path / "clip.mp4", frames=3)
    for name in ("best.pt", "last.pt"):
        target = tmp_path / f"{name}.mp4"
        assert main([str(tmp_path / "clip.mp4"), "-o", str(target), "--weights", str(run / name)]) == 0
        assert target.is_file()
    data = reds(tmp_path / "REDS", clips=1)
    assert main(["eval", str(data / "val"), "--weights", str(run / "best.pt"), "--device", "cpu"]) == 0
    assert "val/000" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a child there")
def test_ctrl_c_saves_and_the_same_command_goes_on_exactly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", SMOKE, "--precision", "fp32", "--log-every", "1", "--steps", "40", "--output"]
    stopped = subprocess.Popen(
        [sys.executable, "-m", "vdeblur", *words, str(tmp_path / "parts")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    log = tmp_path / "parts/log.csv"
    while stopped.poll() is None and not (log.is_file() and "\n3," in log.read_text(encoding="utf-8")):
        time.sleep(0.02)
    stopped.send_signal(signal.SIGINT)
    out, err = stopped.communicate(timeout=120)
    assert stopped.returncode == 130, err
    assert "the same command goes on from here" in out
    assert "Traceback" not in err
    step = checkpoint.load(tmp_path / "parts/last.pt")["step"]
    assert 3 <= step < 40
    assert main([*words, str(tmp_path / "parts")]) == 0
    assert f"going on from step {step} of 40" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "whole")]) == 0
    one, two = (checkpoint.load(tmp_path / run / "last.pt") for run in ("whole", "parts"))
    for key in ("network", "average"):
        assert all(torch.equal(value, two[key][name]) for name, value in one[key].items())


def test_a_run_that_goes_on_says_which_settings_have_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", SMOKE, "--output", str(tmp_path), "--precision", "fp32"]
    assert main([*words, "--steps", "1"]) == 0
    capsys.readouterr()
    assert main([*words, "--steps", "2", "--dropout", "0.1", "--blur_jpeg", "0.5"]) == 0
    said = capsys.readouterr().err
    for line in (
        "steps is 2 now, it was 1", "dropout is 0.1 now, it was 0.0", "blur_jpeg is 0.5 now, it was 0.12",
    ):  # fmt: skip
        assert line in said
    assert said.count("now, it was") == 3


@pytest.mark.parametrize(
    ("batch", "advice"),
    [("8", "--batch 4 --accumulate 2 learns nearly the same"), ("1", "a --crop below 64")],
)
def test_a_device_with_too_little_memory_is_a_line_of_advice(
    batch: str,
    advice: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*pictures: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(loss, "mimo_loss", full)
    assert main(["train", SMOKE, "--output", str(tmp_path / "run"), "--batch", batch]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"vdeblur: cpu: too little memory for {batch} crops of 64 px at a time; ")
    assert advice in last


def test_pairs_are_not_taken_for_sharp_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of a folder is learnt from as sharp: a blurred side in it would teach to leave blur alone."""
    data = reds(tmp_path / "PAIRS", clips=1, frames=1)
    words = ["train", str(SHIPPED / "finetune-own-video.toml"), "--output", str(tmp_path / "run")]
    assert main([*words, "--data", str(data)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "train_blur would be taken for sharp; name the sharp side alone, or take a recipe" in line
    assert not (tmp_path / "run").exists()


def test_a_run_that_wins_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its best weights are those that it began with: nobody should take them for better ones."""
    start = _start(tmp_path / "start.pt", deepdeblur=False)
    settings = SMALL | {"start": str(start), "rate": "0.0"}
    words = [word for key, value in settings.items() for word in (f"--{key}", value)]
    words = ["train", str(SHIPPED / "finetune-pairs.toml"), "--output", str(tmp_path / "run"), *words]
    assert main([*words, "--data", str(reds(tmp_path / "REDS", frames=1))]) == 0
    said = capsys.readouterr()
    assert "no step scored better than the weights it began with, which are in best.pt" in said.out
    assert "use it: " not in said.out
    assert "held out pictures come out no better than they are: train for longer" in said.out
    assert "(2 held-out pairs" in said.err


def test_a_run_that_is_over_says_so_and_that_its_data_were_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a second fine-tuning with the folder that recipes have by default ends at once with the first's
    weights."""
    one, two = (reds(tmp_path / name, frames=frames) for name, frames in (("one", 1), ("two", 2)))
    start = _start(tmp_path / "start.pt", deepdeblur=False)
    settings = SMALL | {"start": str(start), "steps": "1"}
    words = [word for key, value in settings.items() for word in (f"--{key}", value)]
    words = ["train", str(SHIPPED / "finetune-pairs.toml"), "--output", str(tmp_path / "run"), *words]
    assert main([*words, "--data", str(one)]) == 0
    assert "this run is over" not in capsys.readouterr().err
    assert main([*words, "--data", str(two)]) == 0
    said = capsys.readouterr().err
    data = [f"{name}: {n} pairs to learn from, {n} held out" for name, n in (("one", 2), ("two", 4))]
    assert f"data is {data[1]} now, it was {data[0]}" in said
    assert "this run is over, at step 1: --output FOLDER begins another, a larger --steps goes on" in said


def test_a_second_ctrl_c_ends_at_once_only_when_it_is_said_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with train._Stop() as stop:
        assert not stop.asked()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert stop.asked()
        assert "saving after this step; once more in 3 s or later ends at once" in capsys.readouterr().err
        monkeypatch.setattr(train, "AGAIN_S", 0.0)
        time.sleep(0.01)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_before_the_first_step_ends_at_once() -> None:
    """While data are read, which may take minutes, no step will come soon."""
    with train._Stop(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_while_a_run_is_judged_ends_at_once_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That may take minutes; what is judged is saved."""
    score = judge.score

    def interrupted(network: torch.nn.Module, *rest: object) -> judge.Score:
        if (tmp_path / "last.pt").exists():
            signal.raise_signal(signal.SIGINT)
        return score(network, *rest)  # type: ignore[arg-type]

    words = ["train", SMOKE, "--output", str(tmp_path), "--validate_every", "2", "--steps", "4"]
    monkeypatch.setattr(judge, "score", interrupted)
    assert main(words) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "vdeblur: stopped; the same command goes on from here"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "last.pt", "log.csv"]
    monkeypatch.setattr(judge, "score", score)
    assert main(words) == 0
    said = capsys.readouterr().err
    assert "going on from step 2 of 4" in said
    assert [line.split(":")[0] for line in said.splitlines() if " dB over " in line] == ["step 2", "step 4"]


@pytest.mark.parametrize("name", ["finetune-reds-mimo-unet", "finetune-reds-deepdeblur", "train-mimo-unet"])
def test_recipes_for_pairs_learn_from_a_reds_tree(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = reds(tmp_path / "REDS")
    start = _start(tmp_path / "start.pt", deepdeblur="deepdeblur" in name)
    settings = SMALL | {"start": str(start), "blur": "blur"}
    words = [word for key, value in settings.items() for word in (f"--{key}", value)]
    code = main(
        [
            "train",
            str(SHIPPED / f"{name}.toml"),
            "--data",
            str(data),
            "--output",
            str(tmp_path / "run"),
            *words,
        ]
    )
    assert code == 0
    said = capsys.readouterr().err
    assert "4 pairs to learn from, 4 held out" in said
    assert "step 4: " in said


def _start(path: Path, *, deepdeblur: bool) -> Path:
    from vdeblur.models.mimo_unet import MimoUNet
    from vdeblur.models.msresnet import MSResNet

    torch.manual_seed(0)
    network = MSResNet(4, 1) if deepdeblur else MimoUNet(8, 1)
    torch.save(network.state_dict(), path)
    return path


def test_a_folder_of_videos_is_learnt_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine/holiday").mkdir(parents=True)
    media.write_clip(tmp_path / "mine/holiday/walk.mp4", frames=24)
    words = ["--start", "mimo-unet-tiny", "--steps", "2", "--batch", "2", "--crop", "32", "--blur_size", "48"]
    words += ["--frames", "6", "--validate-pictures", "2", "--pool", "2", "--output", str(tmp_path / "run")]
    config = str(SHIPPED / "finetune-own-video.toml")
    assert main(["train", config, "--data", str(tmp_path / "mine"), *words]) == 0
    said = capsys.readouterr().err
    assert "0.93 M parameters" in said
    assert "sharp pictures to learn from" in said


def test_a_tensorboard_log_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    assert main(["train", SMOKE, "--output", str(run), "--steps", "10", "--tensorboard", "true"]) == 0
    events = EventAccumulator(str(run))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [5, 10]
    assert [event.step for event in events.Scalars("gain_db")] == [0, 10]


def test_without_tensorboard_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    words = ["--output", str(tmp_path / "run"), "--steps", "1", "--tensorboard", "true"]
    assert main(["train", SMOKE, *words]) == 0
    assert "no TensorBoard log, only log.csv; for both: " in capsys.readouterr().err
    assert (tmp_path / "run/log.csv").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([SMOKE, "--stepps", "3"], "smoke.toml with --stepps 3: there is no setting 'stepps'"),
        ([SMOKE, "--batch", "0"], "smoke.toml with --batch 0: batch is 0; it must be 1 at least"),
        ([SMOKE, "--steps"], "--steps: give it a value"),
        ([SMOKE, "more"], "more: not expected here"),
        (["--crop", "36", "--device=cpu", SMOKE], "crop is 36; this network needs a multiple of 8"),
        (["missing.toml"], "missing.toml: no such file or recipe; known are finetune-own-video, "),
        (["configs/smoke.toml"], "no such file or recipe; did you mean smoke, which comes with vdeblur?"),
        ([SMOKE, "--data", "."], "--data .: this recipe draws its own pictures"),
        ([SMOKE, "--sharp", "."], "--sharp .: this recipe makes its blur itself"),
        ([SMOKE, "--source", "sharp", "--data", ".", "--blur", "blur"], "--blur blur: this recipe makes its"),
        ([SMOKE, "--source", "sharp", "--data", ".", "--validation", "a,b"], "--validation a,b: this recipe"),
        ([str(SHIPPED / "train-mimo-unet.toml")], "give --data FOLDER, this recipe learns from pairs"),
        ([str(SHIPPED / "mimo-unet-tiny.toml"), "--data", "nowhere"], "--data nowhere: no such file"),
        ([SMOKE, "--output", "notes.txt/run"], "notes.txt is a file; name a folder for the run"),
        ([SMOKE, "--device", "toaster"], "--device toaster: not known"),
        ([SMOKE, "--crop", "36"], "crop is 36; this network needs a multiple of 8"),
        ([SMOKE, "--start", "mimo-unet-tyni"], "did you mean mimo-unet-tiny"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").touch()
    assert main(["train", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
