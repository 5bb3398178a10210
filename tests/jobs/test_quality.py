"""`--quality`: what it fills in on each kind of device, what it leaves, and what is said of it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from video import media
from weights.files import mimo_state, write_safetensors

from vdeblur.cli import live
from vdeblur.cli.main import main
from vdeblur.cli.options import deblur_parser, options_of
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.device import Kind
from vdeblur.errors import InputError
from vdeblur.jobs import deblur, identity, network, quality
from vdeblur.jobs.plan import Options, filled, make_plan
from vdeblur.video.segments import Rule
from vdeblur.weights import places, store

KINDS: tuple[Kind, ...] = ("cpu", "cuda", "mps")


def options(*words: str) -> Options:
    return options_of(deblur_parser().parse_args(["in.mp4", *words]))


@pytest.fixture
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kind:
    """A machine whose best device is of this kind."""
    found: Kind = request.param
    monkeypatch.setattr(quality, "guess_kind", lambda device: found if device == "auto" else device)
    return found


every_kind = pytest.mark.parametrize("kind", KINDS, indirect=True)


@every_kind
def test_balanced_is_no_option_at_all(kind: Kind) -> None:
    plain = options()
    assert filled(plain).engine() == plain.engine()
    assert not filled(plain).skip_sharp
    assert filled(options("--quality", "balanced")) == filled(plain)
    assert filled(options("--skip-sharp", "off")) == filled(plain)


@every_kind
def test_every_choice_is_one_that_runs(kind: Kind) -> None:
    for word in quality.QUALITIES:
        network = filled(Options(quality=word)).engine()
        assert store.resolve(network["model"], None, kind).path.is_file()
        assert kind == "cpu" or network["precision"] == "auto"


@every_kind
def test_fast_is_the_smallest_network_and_best_averages_over_rotations(kind: Kind) -> None:
    fast, best = filled(options("--quality", "fast")), filled(options("--quality", "best"))
    assert fast.model == "mimo-unet-tiny"
    assert fast.skip_sharp == (0.0 if kind == "cuda" else 1.0)
    assert best.skip_sharp == 0.0
    ref = store.resolve(best.model, None, kind)
    assert ref.ensemble
    assert ref.path == store.resolve("auto", None, kind).path


@pytest.mark.parametrize("has", [True, False])
def test_best_on_a_processor_is_not_int8(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "has_bfloat16", lambda: has)
    assert filled(options("--device", "cpu", "--quality", "best")).precision == ("bf16" if has else "fp32")


@pytest.mark.parametrize("kind", ["cuda"], indirect=True)
def test_what_runs_on_the_processor_although_there_is_a_gpu_is_chosen_for_it(kind: Kind) -> None:
    chosen = filled(options("--quality", "best", "--backend", "openvino"))
    assert chosen.precision in ("bf16", "fp32")
    assert filled(options("--quality", "fast", "--precision", "int8")).skip_sharp == 1.0


@every_kind
@pytest.mark.parametrize("word", quality.QUALITIES)
def test_what_was_asked_for_by_name_wins(kind: Kind, word: str) -> None:
    asked = {
        "model": ("--model", "mimo-unet-small"),
        "precision": ("--precision", "fp32"),
        "skip_sharp": ("--skip-sharp", "0.7"),
    }
    for count in range(1, 4):
        for names in itertools.combinations(asked, count):
            words = [part for name in names for part in asked[name]]
            chosen, plain = filled(options("--quality", word, *words)), filled(options(*words))
            for name in names:
                assert getattr(chosen, name) == getattr(plain, name)
            if word != "balanced":
                for name in names:
                    assert asked[name][0] in quality.reason(chosen)
    assert filled(options("--quality", word, "--skip-sharp", "off")).skip_sharp == 0.0


def test_weights_of_ones_own_stay(tmp_path: Path) -> None:
    file = write_safetensors(tmp_path / "own.safetensors", mimo_state())
    for word in quality.QUALITIES:
        chosen = filled(options("--device", "cpu", "--quality", word, "--weights", str(file)))
        assert (chosen.model, chosen.weights) == ("auto", file)
        assert "--weights" in quality.reason(chosen)


@every_kind
@pytest.mark.parametrize("word", quality.QUALITIES)
@pytest.mark.parametrize("more", [(), ("--skip-sharp", "off"), ("--precision", "fp32")])
def test_options_of_a_stopped_run_mean_the_same_again(kind: Kind, word: str, more: tuple[str, ...]) -> None:
    once = filled(options("--quality", word, *more))
    again = filled(identity.options_of(identity.plain_options(once)))
    assert again == once
    assert quality.reason(again) == quality.reason(once)


def test_a_run_goes_on_under_the_names_that_a_quality_stands_for(tmp_path: Path) -> None:
    source = str(media.write_clip(tmp_path / "in.mkv", codec="ffv1").path)
    fast = Options(device="cpu", quality="fast")
    named = Options(device="cpu", model="mimo-unet-tiny", skip_sharp=1.0)
    plain = Options(device="cpu")
    found = [identity.made_with(make_plan(source, None, each), Rule()) for each in (fast, named, plain)]
    assert found[0] == found[1] != found[2]


def test_a_word_not_known_is_refused() -> None:
    with pytest.raises(InputError, match="--quality good: not known, choose one of fast, balanced, best"):
        filled(Options(quality="good"))


def test_the_plan_and_the_first_line_say_what_was_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    write_safetensors(package / "mimo-unet-tiny.safetensors", mimo_state(stem="half"))
    monkeypatch.setattr(places, "package_folder", lambda: package)
    source = str(media.write_clip(tmp_path / "in.mkv", codec="ffv1").path)
    words = [source, "-o", str(tmp_path / "out.mkv"), "--device", "cpu"]
    assert main([*words, "--quality", "best", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "best: four rotations of every frame averaged" in said
    assert "mimo-unet-tiny@ensemble" in said
    assert main([*words, "--dry-run"]) == 0
    assert "balanced: " in capsys.readouterr().out
    assert main([*words, "--quality", "fast"]) == 0
    said = capsys.readouterr().err
    assert said.startswith("quality fast: ")
    assert "mimo-unet-tiny on cpu" in said


def test_live_takes_network_and_precision_but_no_ensemble() -> None:
    def ladder(*words: str) -> list[str]:
        chosen = live._options(live._parser().parse_args(["0", "--device", "cpu", *words]))
        return [rung.model for rung in chosen.rungs()]

    assert set(ladder("--quality", "fast")) == {"mimo-unet-tiny"}
    assert ladder("--quality", "best") == ladder() == ladder("--quality", "balanced")
    best = live._options(live._parser().parse_args(["0", "--device", "cpu", "--quality", "best"]))
    assert best.precision in ("bf16", "fp32")


@pytest.mark.parametrize(
    ("words", "preset"),
    [
        ((), "medium"),
        (("--skip-sharp", "auto"), "veryfast"),
        (("--skip-sharp", "auto", "--preset", "slow"), "slow"),
        (("--quality", "fast"), "veryfast"),
        (("--quality", "fast", "--skip-sharp", "off"), "veryfast"),
        (("--quality", "best"), "medium"),
    ],
)
def test_the_encoder_does_not_hold_up_what_shall_be_fast(
    words: tuple[str, ...], preset: str, tmp_path: Path
) -> None:
    made = media.write_clip(tmp_path / "in.mkv")
    planned = make_plan(str(made.path), None, options("--device", "cpu", *words))
    assert planned.output is not None
    assert planned.output.options["preset"] == preset
    assert any("--preset medium" in note for note in planned.notes) == (preset == "veryfast")


def test_the_estimate_before_a_run_counts_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """x264's medium takes 43 processor milliseconds a megapixel (video/encoders.py)."""
    monkeypatch.setattr(network, "cpu_threads", lambda: 2)
    source = str(media.write_clip(tmp_path / "in.mkv", size=(160, 120), frames=2).path)
    planned = make_plan(source, None, options("--device", "cpu", "--model", "mimo-unet-tiny"))
    assert network.encoding_s_per_frame(planned) == pytest.approx(43e-3 * 160 * 120 / 1e6 / 2)
    monkeypatch.setattr(Deblurrer, "estimate_s_per_frame", lambda self, layout: 1.5)
    monkeypatch.setattr(network, "encoding_s_per_frame", lambda plan: 1.0)
    events: list[deblur.Event] = []
    deblur.run(planned, events.append)
    assert [event.s_per_frame for event in events if isinstance(event, deblur.Started)] == [2.5]
