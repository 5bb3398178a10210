"""OpenVINO gives what plain torch gives, in whatever order frames come back inside, and without torch."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from engine.pictures import FORMATS, layout, noise_frame, smooth_frame
from video import media

pytest.importorskip("openvino")

import openvino as ov

from vdeblur import colour
from vdeblur.engine import decision, device, guard, openvino_request
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.engine.decision import decide
from vdeblur.engine.device import choose
from vdeblur.engine.openvino import Bodies, OpenVinoBackend, bodies_of
from vdeblur.engine.openvino_graph import network as network_of
from vdeblur.errors import InputError, MissingRuntimeError, VdeblurError
from vdeblur.frame import Fate, Frame
from vdeblur.models.contract import DeblurNetwork
from vdeblur.models.mimo_unet import MimoUNet, RotationEnsemble
from vdeblur.models.msresnet import MSResNet
from vdeblur.weights import places, quantised, store
from vdeblur.weights.architecture import Architecture
from vdeblur.weights.arrays import Weights

MATRICES = [key for key in colour.MATRICES if key != "rgb"]
SIZES = [(48, 32), (37, 21), (50, 26)]  # whole units, odd, padded but whole blocks of 4:2:0
ROOT = Path(__file__).parents[2]


def weights_of(network: MimoUNet | MSResNet, *, ensemble: bool = False) -> Weights:
    arrays = {key: value.detach().numpy() for key, value in network.state_dict().items()}
    if isinstance(network, MimoUNet):
        architecture = Architecture("mimo-unet", network.channels, network.blocks, network.stem)
    else:
        architecture = Architecture("msresnet", network.features, network.blocks, scales=network.levels)
    return Weights(arrays, architecture, ensemble, Path("made.safetensors"), "0" * 64)


def small(stem: str = "half", seed: int = 0, gain: float = 1.0) -> MimoUNet:
    torch.manual_seed(seed)
    network = MimoUNet(8, 1, stem)  # type: ignore[arg-type]
    for name in ("weight", "bias"):
        network.get_parameter(f"feat_extract.5.main.0.{name}").data.mul_(gain)
    return network.eval().requires_grad_(False)


def opened(network: MimoUNet, precision: str = "fp32", **options: object) -> Deblurrer:
    return Deblurrer(weights_of(network), device="cpu", precision=precision, backend="openvino", **options)  # type: ignore[arg-type]


def near(one: Frame, other: Frame) -> bool:
    """To a code, where a sum lies on the edge between two."""
    planes = zip(one.planes, other.planes, strict=True)
    return all(np.abs(a.astype(int) - b).max() <= 1 for a, b in planes)


@pytest.mark.parametrize(
    ("network", "ensemble"),
    [
        (small("full"), False),
        (small("half"), False),
        (small("half"), True),
        (small("full"), True),
        (MSResNet(8, 2, 3).eval().requires_grad_(False), False),
        (MSResNet(8, 1, 4).eval().requires_grad_(False), False),
    ],
)
def test_a_body_is_its_network(network: MimoUNet | MSResNet, ensemble: bool) -> None:
    """Published sizes differ only in width and depth."""
    whole: DeblurNetwork = network
    if ensemble:
        assert isinstance(network, MimoUNet)
        whole = RotationEnsemble(network)
    weights = weights_of(network, ensemble=ensemble)
    bodies = bodies_of(weights, None)
    assert (bodies.multiple_of, bodies.reach) == (whole.multiple_of, whole.reach)
    rgb = torch.rand((1, 3, 48, 64), generator=torch.Generator().manual_seed(1))
    model = ov.Core().compile_model(
        network_of(bodies.careful(), 48, 64), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    with torch.inference_mode():
        wanted = whole.correction(rgb).numpy()
    assert np.abs(model(rgb.numpy())[0] - wanted).max() < 1e-5 * max(1.0, float(np.ptp(wanted)))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stem", ["full", "half"])
def test_a_difference_of_zero_gives_back_every_bit(stem: str, precision: str) -> None:
    engine = opened(small(stem, gain=0.0), precision)
    formats = FORMATS if precision == "fp32" else ["yuv420p", "nv12", "p010le", "yuv422p", "rgb24", "gray"]
    for number, name in enumerate(formats):
        range_, matrix = ("limited", "full")[number % 2], MATRICES[number % len(MATRICES)]
        frame = noise_frame(layout(name, *SIZES[number // 2 % 3], range_, matrix), number)  # type: ignore[arg-type]
        (result,) = engine.deblur([frame])
        assert result.fate == Fate.DEBLURRED
        for before, after in zip(frame.planes, result.planes, strict=True):
            assert after.dtype == before.dtype
            assert np.array_equal(after, before), (name, range_, matrix)


@pytest.mark.parametrize("stem", ["full", "half"])
def test_planes_are_those_of_plain_torch(stem: str) -> None:
    """Every format; the same rounding but where a sum lies on the edge between two codes."""
    network = small(stem, gain=0.5)
    plain = Deblurrer(network, device="cpu", precision="fp32", backend="torch", tile="off")
    fast = opened(network, tile="off")
    off = total = 0
    for number, name in enumerate(FORMATS):
        lay = layout(name, *SIZES[number % 3], matrix=MATRICES[number % len(MATRICES)])
        frame = smooth_frame(lay, number)
        (wanted,), (found,) = plain.deblur([frame]), fast.deblur([frame])
        assert found.fate == wanted.fate == Fate.DEBLURRED
        changed = False
        for before, one, other in zip(frame.planes, wanted.planes, found.planes, strict=True):
            apart = np.abs((one.astype(np.int64) >> lay.lsb) - (other.astype(np.int64) >> lay.lsb))
            assert apart.max() <= (1 if lay.depth < 16 else 2), name
            changed = changed or not np.array_equal(before, one)
            if lay.depth == 8:
                off, total = off + int(apart.sum()), total + apart.size
        assert changed, f"{name}: the network of this test changes nothing"
    assert off <= total * 1e-3


def test_tiles_are_the_whole_picture() -> None:
    network = small("half")
    frame = smooth_frame(layout("yuv420p", 400, 300))
    (whole,) = opened(network, tile="off").deblur([frame])
    engine = opened(network, tile=248)
    assert engine.describe(frame.layout)["tile"].startswith("248x248")
    (cut,) = engine.deblur([frame])
    assert near(whole, cut)


def test_single_pictures_are_those_of_plain_torch() -> None:
    network = small("half")
    picture = smooth_frame(layout("rgb24", 61, 45)).planes[0]
    plain = Deblurrer(network, device="cpu", precision="fp32", backend="torch")
    assert (
        np.abs(opened(network).deblur_rgb_or_none(picture) - plain.deblur_rgb_or_none(picture)).max() < 1e-5
    )


def test_many_frames_in_flight_keep_their_order_time_and_side() -> None:
    lay = layout("nv12", 64, 48)
    frames = [smooth_frame(lay, seed, seed) for seed in range(12)]
    engine = opened(small())
    results = list(engine.deblur(iter(frames)))
    alone = [next(engine.deblur([frame])) for frame in frames]
    for before, after, single in zip(frames, results, alone, strict=True):
        assert dataclasses.replace(after, planes=before.planes, fate=before.fate) == before
        assert all(np.array_equal(a, b) for a, b in zip(after.planes, single.planes, strict=True))
    for one, other in itertools.pairwise(results):
        assert not np.shares_memory(one.planes[0], other.planes[0])


def test_a_source_may_be_left_in_the_middle() -> None:
    lay = layout("yuv420p", 64, 48)
    engine = opened(small())
    results = engine.deblur(smooth_frame(lay, seed, seed) for seed in range(9))
    first = next(results)
    results.close()  # type: ignore[attr-defined]
    again = list(engine.deblur([smooth_frame(lay, 0, 0)] * 5))
    assert len(again) == 5
    assert all(np.array_equal(first.planes[0], frame.planes[0]) for frame in again)


def test_two_streams_through_one_engine_do_not_mix() -> None:
    """As `zip` takes them, one with a single picture between its frames; a closed engine ends neither."""
    lay = layout("yuv420p", 64, 48)
    left, right = ([smooth_frame(lay, seed + 9 * side, seed) for seed in range(5)] for side in range(2))
    engine = opened(small())
    meant = [list(engine.deblur(frames)) for frames in (left, right)]
    single = next(engine.deblur([left[0]]))
    streams = engine.deblur(left), engine.deblur(right)
    found: list[list[Frame]] = [[], []]
    for number in range(5):
        for stream, results in zip(streams, found, strict=True):
            results.append(next(stream))
            time.sleep(0.01)  # what is in flight lands, and is still the stream's own
        assert np.array_equal(next(engine.deblur([left[0]])).planes[0], single.planes[0])
        if number == 2:
            engine.close()
    for results, wanted in zip(found, meant, strict=True):
        for one, other in zip(results, wanted, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


RAN_OUT = (
    "Check 'ptr' failed at src/plugins/intel_cpu/src/cpu_memory.cpp:257:\nFailed to allocate 154583040 bytes"
)


@pytest.mark.parametrize("where", ["compile", "start", "wait"])
def test_memory_that_runs_out_costs_smaller_tiles_and_no_frame(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [smooth_frame(layout("yuv420p", 400, 300), seed, seed) for seed in range(9)]
    network = small("half")
    meant = list(opened(network).deblur(frames))
    calls = itertools.count()
    patched, name = {
        "compile": (OpenVinoBackend, "compiled_frame"),
        "start": (openvino_request.Request, "start"),
        "wait": (openvino_request.Request, "wait"),
    }[where]
    real = getattr(patched, name)

    def runs_out(*asked: object, **more: object) -> object:
        if next(calls) >= (0 if where == "compile" else 4):
            raise RuntimeError(RAN_OUT)
        return real(*asked, **more)

    monkeypatch.setattr(patched, name, runs_out)
    engine = opened(network)
    results = list(engine.deblur(iter(frames)))
    assert [frame.index for frame in results] == list(range(9))
    assert {frame.fate for frame in results} == {Fate.DEBLURRED}
    said = [text for text in engine.notes if "memory" in text]
    assert said == [
        "out of memory: going on with one frame at a time",
        "out of memory: going on in tiles of 384x304",
    ]
    assert all(near(one, other) for one, other in zip(meant, results, strict=True))


def test_memory_that_no_tile_helps_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def runs_out(*asked: object) -> object:
        raise MemoryError

    engine = opened(small())
    engine.estimate_s_per_frame(layout("yuv420p", 64, 48))  # warm by now
    monkeypatch.setattr(openvino_request.Request, "start", runs_out)
    with pytest.raises(VdeblurError, match=r"out of memory on .* smaller network"):
        list(engine.deblur([smooth_frame(layout("yuv420p", 64, 48))]))


def test_with_latency_no_frame_waits_for_a_later_one() -> None:
    taken: list[int] = []

    def source() -> Iterator[Frame]:
        for index in range(5):
            taken.append(index)
            yield noise_frame(layout("yuv420p", 32, 16), index=index)

    for count, frame in enumerate(opened(small(), latency=True).deblur(source()), start=1):
        assert frame.index == count - 1
        assert len(taken) == count


def test_what_fails_in_the_fast_graph_is_redone_in_float32_or_passes() -> None:
    good, wild, broken = small(), small(), small()
    wild.get_parameter("feat_extract.5.main.0.bias").data.add_(0.5)
    broken.get_parameter("feat_extract.5.main.0.bias").data[0] = float("nan")
    choice = dataclasses.replace(choose("cpu", "fp32", "openvino"), precision="int8")
    frames = [smooth_frame(layout("yuv420p", 64, 48), seed, seed) for seed in range(3)]
    wanted = list(opened(good).deblur(frames))
    for fast, careful, fate in (
        (wild, good, Fate.REDONE),
        (broken, good, Fate.REDONE),
        (broken, wild, Fate.REFUSED),
    ):
        sound, odd = (bodies_of(weights_of(network), None) for network in (careful, fast))
        bodies = Bodies(sound.multiple_of, sound.reach, sound.careful, odd.careful)
        engine = opened(good)
        engine._backend = OpenVinoBackend(bodies, choice)
        results = list(engine.deblur(frames))
        assert [result.fate for result in results] == [fate] * 3
        right = wanted if fate == Fate.REDONE else frames
        assert all(near(result, other) for result, other in zip(results, right, strict=True))


@pytest.mark.parametrize("size", [(41, 70), (32, 64), (20, 9)])
def test_the_guard_sees_the_same_in_an_array(size: tuple[int, int]) -> None:
    difference = torch.randn((1, 3, *size), generator=torch.Generator().manual_seed(0)) * 0.1 + 0.02
    found = guard.figures_of(difference[0].numpy())
    assert found == pytest.approx(guard.figures(difference).tolist(), rel=1e-4)


def test_the_precision_is_always_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left alone OpenVINO takes bfloat16 where a processor has it."""
    seen: list[dict[str, str]] = []
    compiled = ov.Core.compile_model

    def watched(self: ov.Core, model: ov.Model, where: str, options: dict[str, str]) -> ov.CompiledModel:
        seen.append(options)
        return compiled(self, model, where, options)

    monkeypatch.setattr(ov.Core, "compile_model", watched)
    for precision in ("fp32", "bf16"):
        engine = opened(small(), precision, tile=248)
        list(engine.deblur([smooth_frame(layout("yuv420p", 400, 300))]))
        engine = opened(small(), precision)
        list(engine.deblur([smooth_frame(layout("yuv420p", 40, 32))]))
    hints = [options["INFERENCE_PRECISION_HINT"] for options in seen]
    assert set(hints[: len(hints) // 2]) == {"f32"}
    assert "bf16" in hints[len(hints) // 2 :]


@pytest.mark.parametrize("name", ["mimo-unet-tiny", "mimo-unet-small"])
def test_the_package_brings_its_networks_in_int8(name: str) -> None:
    path = places.shipped()[name]
    found, reason = quantised.find(path)
    assert found is not None, f"{reason}; run scripts/make_int8.py"
    assert found.facts.gain_kept >= quantised.LEAST_GAIN_KEPT
    relative = Path(os.path.relpath(path))
    assert quantised.find(relative)[0] is not None
    assert found.path.stat().st_size < {"mimo-unet-tiny": 1.5e6, "mimo-unet-small": 5e6}[name]


def test_int8_is_the_default_on_processors_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ref = store.resolve("mimo-unet-tiny", None, "cpu")
    for features, precision in (
        ({"avx512_vnni", "avx512_bf16"}, "int8"),
        ({"avx_vnni"}, "int8"),
        ({"avx512_bf16"}, "bf16"),
        ({"avx2"}, "fp32"),
    ):
        monkeypatch.setattr(device, "cpu_features", lambda features=features: frozenset(features))
        choice = decide(ref, "cpu", "auto", "auto").choice
        assert (choice.backend, choice.precision) == ("openvino", precision)
        assert decide(ref, "cpu", "auto", "torch").choice.backend == "torch"


def test_a_graph_that_keeps_too_little_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = quantised.find(places.shipped()["mimo-unet-tiny"])
    assert found is not None
    poor = dataclasses.replace(found, facts=dataclasses.replace(found.facts, gain_kept=0.5))
    monkeypatch.setattr(quantised, "find", lambda *asked, **more: (poor, ""))
    monkeypatch.setattr(device, "cpu_features", lambda: frozenset({"avx512_vnni", "avx512_bf16"}))
    squares = smooth_frame(layout("yuv420p", 64, 48))
    with Deblurrer.load("mimo-unet-tiny", device="cpu", backend="openvino") as engine:
        assert engine.describe(squares.layout)["precision"] == "bf16"
        assert any("keeps 50%" in note for note in engine.notes)
    with Deblurrer.load("mimo-unet-tiny", device="cpu", precision="int8") as engine:
        assert engine.describe(squares.layout)["precision"] == "int8"  # as it was asked for


def test_int8_says_nearly_what_float32_says() -> None:
    """On squares that were moved by 9 px: sharp ones ask for so little that its rounding shows."""
    squares = np.kron(np.random.default_rng(0).integers(60, 200, (12, 16, 3)), np.ones((12, 12, 1)))
    picture = np.mean([np.roll(squares, shift, axis=1) for shift in range(9)], axis=0).astype(np.uint8)
    source = picture.astype(np.float32) / 255
    differences = [
        Deblurrer.load(
            "mimo-unet-tiny", device="cpu", backend="openvino", precision=precision
        ).deblur_rgb_or_none(picture)
        - source
        for precision in ("fp32", "bf16", "int8")
    ]
    size = np.sqrt(np.mean(differences[0] ** 2))
    assert np.sqrt(np.mean((differences[1] - differences[0]) ** 2)) < 0.06 * size
    assert np.sqrt(np.mean((differences[2] - differences[0]) ** 2)) < 0.25 * size


def test_a_graph_of_other_weights_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights are replaced, the graph beside them is old: float computes, with one line."""
    for suffix in (places.SUFFIX, quantised.SUFFIX):
        other = "tiny" if suffix == places.SUFFIX else "small"
        data = (places.package_folder() / f"mimo-unet-{other}{suffix}").read_bytes()
        (tmp_path / f"mimo-unet-tiny{suffix}").write_bytes(data)
    monkeypatch.setattr(places, "package_folder", lambda: tmp_path)
    ref = store.resolve("mimo-unet-tiny", None, "cpu")
    found = decide(ref, "cpu", "auto", "openvino")
    assert found.int8 is None
    assert found.choice.precision in ("bf16", "fp32")
    (note,) = found.notes
    assert "made for other weights" in note
    assert note.endswith(f"running in {found.choice.precision}")
    monkeypatch.setattr(decision, "has_nncf", lambda: False)
    with pytest.raises(MissingRuntimeError, match=r"^--precision int8: .*other weights.*pip install nncf"):
        decide(ref, "cpu", "int8", "auto")
    (tmp_path / f"mimo-unet-tiny{quantised.SUFFIX}").write_bytes(b"PK\x03\x04 cut off")
    assert "damaged" in decide(ref, "cpu", "auto", "openvino").notes[0]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("cuda", "int8", "auto"), "--precision int8 runs on CPUs only"),
        (("cpu", "int8", "torch"), "--precision int8 needs --backend openvino"),
        (("mps", "auto", "openvino"), "--backend openvino runs on CPUs only"),
    ],
)
def test_what_openvino_cannot_do_is_refused(asked: tuple[str, str, str], words: str) -> None:
    with pytest.raises(InputError, match=f"^{words}"):
        device.check_choice(*asked)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the pip of this very Python: another one's would install it where it is not found."""
    monkeypatch.setattr(device, "has_openvino", lambda: False)
    for asked in (("auto", "int8", "auto"), ("cpu", "auto", "openvino")):
        with pytest.raises(
            MissingRuntimeError, match=re.escape(f"{sys.executable} -m pip install 'vdeblur[openvino]'")
        ):
            device.check_choice(*asked)
    ref = store.resolve("mimo-unet-tiny", None, "cpu")
    assert decide(ref, "cpu", "auto", "auto").choice.backend == "torch"


def test_where_it_does_not_load_torch_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older one than this needs, or one that lacks a library."""
    monkeypatch.setitem(sys.modules, "vdeblur.engine.openvino", None)
    with Deblurrer.load("mimo-unet-tiny", device="cpu") as engine:
        assert engine.describe()["backend"] == "torch"
        assert any("does not load" in note and "torch computes" in note for note in engine.notes)
    for asked in ({"backend": "openvino"}, {"precision": "int8"}):
        with pytest.raises(MissingRuntimeError, match=r"does not load .*vdeblur\[openvino\]"):
            Deblurrer.load("mimo-unet-tiny", device="cpu", **asked)  # type: ignore[arg-type]


def test_a_clip_is_deblurred_without_torch(tmp_path: Path) -> None:
    """The networks of the package on a CPU: neither the plan nor the run imports it."""
    clip = tmp_path / "clip.mp4"
    media.write_clip(clip)
    code = (
        "import sys; from vdeblur.cli.main import main\n"
        f"code = main([{str(clip)!r}, '-o', {str(tmp_path / 'out.mp4')!r}, '--device', 'cpu', "
        "'--backend', 'openvino', '--model', 'mimo-unet-tiny'])\n"
        "print('torch' in sys.modules, 'openvino' in sys.modules); sys.exit(code)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1] == "False True", run.stdout
    assert (tmp_path / "out.mp4").stat().st_size > 0


def test_weights_become_int8_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NNCF and pictures of scikit-image; the graph lies in the cache and is found for these weights only."""
    pytest.importorskip("nncf")
    from safetensors.numpy import save_file

    from vdeblur.jobs import quantising

    monkeypatch.setattr(quantising, "PICTURES", 4)
    monkeypatch.setattr(quantising, "PAIRS", 2)
    path = tmp_path / "mine.safetensors"
    save_file(dict(weights_of(small()).arrays), path)
    judged = quantising.quantise(path)
    assert judged.graph.path.parent == places.cache_folder() / "int8"
    found, _ = quantised.find(path)
    assert found is not None
    assert found.facts == judged.graph.facts
    ref = store.resolve("auto", path, "cpu")
    assert decide(ref, "cpu", "auto", "auto").int8 == judged.graph
    quantising.prepare(ref, "cpu", "int8", "auto", pytest.fail)  # nothing is left to do
    engine = Deblurrer.load(weights=path, device="cpu", precision="int8")
    (result,) = engine.deblur([smooth_frame(layout("yuv420p", 64, 48))])
    assert engine.describe()["precision"] == "int8"
    assert result.fate == Fate.DEBLURRED


def test_a_long_video_makes_the_graph_first_and_a_stopped_run_knows_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nncf")
    from safetensors.numpy import save_file

    from vdeblur.jobs import deblur, identity, plan, quantising
    from vdeblur.jobs.dry_run import described
    from vdeblur.video.segments import Rule

    monkeypatch.setattr(quantising, "PICTURES", 2)
    monkeypatch.setattr(quantising, "PAIRS", 1)
    monkeypatch.setattr(decision, "has_int8", lambda: True)
    weights = tmp_path / "mine.safetensors"
    save_file(dict(weights_of(small(seed=3)).arrays), weights)
    source = media.write_clip(tmp_path / "in.mkv", codec="ffv1").path
    options = plan.Options(device="cpu", weights=weights)

    short = plan.make_plan(str(source), tmp_path / "short.mkv", options)
    assert not short.makes_int8
    assert identity.made_with(short, Rule())["the int8 graph"] == "none"
    deblur.run(short)
    assert quantised.find(weights)[0] is None

    monkeypatch.setattr(plan, "LONG_PX", 1)
    long = plan.make_plan(str(source), tmp_path / "long.mkv", options)
    assert "made first" in dict(described(long))["device"]
    before = identity.made_with(long, Rule())
    said: list[str] = []
    deblur.run(long, lambda event: said.append(event.text) if isinstance(event, deblur.Note) else None)
    assert quantised.find(weights)[0] is not None
    assert any("making an int8 graph" in text for text in said)
    again = plan.make_plan(str(source), tmp_path / "again.mkv", options)
    assert not again.makes_int8
    assert before["the int8 graph"] == "there"
    assert identity.made_with(again, Rule()) == before


def test_a_cache_that_takes_no_graph_stops_no_run_that_did_not_ask_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vdeblur.jobs import quantising

    monkeypatch.setattr(quantising, "_material", pytest.fail)  # it is found out before the work
    (tmp_path / "file").write_text("a file where the folder should be")
    monkeypatch.setenv("VDEBLUR_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(decision, "has_int8", lambda: True)
    monkeypatch.setattr(decision, "has_nncf", lambda: True)
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(places.shipped()["mimo-unet-tiny"].read_bytes())
    ref, said = store.resolve("auto", weights, "cpu"), []
    quantising.prepare(ref, "cpu", "auto", "openvino", said.append, long=True)
    assert re.search("cannot be written .*VDEBLUR_CACHE names another folder: running in", said[0])
    with pytest.raises(InputError, match="VDEBLUR_CACHE names another folder"):
        quantising.prepare(ref, "cpu", "int8", "openvino", said.append)


def test_nothing_about_a_run_leaves_the_machine() -> None:
    asks = "import sys, vdeblur.engine.openvino; print(sys.modules['openvino_telemetry'])"
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None"]
