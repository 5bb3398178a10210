"""What `vdeblur bench` says: the form of its JSON, clocks that differ, figures that doubt themselves."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from weights.files import mimo_state, write_safetensors

from vdeblur.cli.main import main
from vdeblur.engine.guard import is_sound
from vdeblur.errors import InputError, VdeblurError
from vdeblur.jobs import plan
from vdeblur.measure import (
    alone,
    bench_report,
    bench_rows,
    benchmark,
    laps,
    machine,
    reel,
    sweep,
    untrained,
    whole,
    yardstick,
)
from vdeblur.measure.bench_rows import Bench, Work
from vdeblur.measure.benchmark import Asked, bench, check
from vdeblur.video.probing import probe
from vdeblur.video.sink import Sink
from vdeblur.video.writer import Writer
from vdeblur.weights import loading
from vdeblur.weights.catalogue import PACKAGE_NAMES

NUMBER, WORDS, MAYBE = (int, float), str, (int, float, type(None))
LAPS = {
    "count": int,
    **dict.fromkeys(("best_s", "p50_s", "p95_s", "p99_s", "worst_s", "spread"), NUMBER),
    "cpu_s": MAYBE,
}
FORM = {
    "form": int,
    "asked": dict,
    "engine": dict,
    "machine": {
        "system": WORDS,
        "processor": WORDS,
        "cores": int,
        "features": list,
        "clock_mhz": MAYBE,
        "gpu": (dict, type(None)),
        "versions": dict,
        "threads_set": dict,
    },
    "width": int,
    "height": int,
    "source": WORDS,
    "when": WORDS,
    "network": {
        "launched": LAPS,
        "synchronised": LAPS,
        "device_events": (dict, type(None)),
        "work": {
            "gmac": NUMBER,
            "tflops": NUMBER,
            "peak_tflops": MAYBE,
            "peak_of": (str, type(None)),
            "share": MAYBE,
        },
        "fps": NUMBER,
    },
    "stages": [{"name": WORDS, "s_per_frame": NUMBER, "laps": LAPS, "fps": NUMBER}],
    "parity": {"psnr_db": MAYBE, "p999": NUMBER, "greatest": NUMBER, "frames": int},
    "whole": {
        "frames": int,
        "warm_up_frames": int,
        **dict.fromkeys(
            ("start_up_s", "first_frame_s", "steady_fps", "true_fps", "close_s", "total_s"), NUMBER
        ),
        "between": LAPS,
        "overlap": MAYBE,
        "over_sum": MAYBE,
        "cpu_s": MAYBE,
        "over_sum_cpu": MAYBE,
        "memory_mib": MAYBE,
        "fates": dict,
        "busy_s": dict,
        "way": dict,
    },
    "memory_on_device_mib": MAYBE,
    "warnings": list,
}
"""The form of the JSON, form number 2: whoever renames in it also changes `bench_rows.FORM`."""


def assert_form(found: Any, form: Any, where: str = "") -> None:
    if isinstance(form, dict):
        assert set(found) == set(form), where
        for key, inner in form.items():
            assert_form(found[key], inner, f"{where}.{key}")
    elif isinstance(form, list):
        assert found, where
        for number, each in enumerate(found):
            assert_form(each, form[0], f"{where}[{number}]")
    else:
        assert isinstance(found, form), f"{where}: {found!r}"


@pytest.fixture(scope="module")
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alone, "BUDGET_S", 0.3)
        patch.setattr(alone, "SMALL_BUDGET_S", 0.05)
        patch.setattr(yardstick, "PEAK_S", 0.02)
        patch.setattr(yardstick, "SHAPES", ((16, 32, 32),))
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "little.safetensors"
    write_safetensors(path, mimo_state(stem="half"))
    return path


@pytest.fixture(scope="module")
def found(short: None, weights: Path) -> Bench:
    asked = Asked(weights=weights, device="cpu", backend="torch", precision="fp32", size=(64, 96), frames=9)
    partial, whole = bench(asked)
    assert partial.whole is None
    assert dataclasses.replace(partial, stages=whole.stages, whole=whole.whole, warnings=()) == (
        dataclasses.replace(whole, warnings=())
    )
    return whole


def test_the_form_of_the_json_is_held(found: Bench) -> None:
    plain = json.loads(bench_rows.json_text(found))
    assert_form(plain, FORM)
    assert plain["form"] == 2


def test_every_stage_and_the_whole_are_there(found: Bench) -> None:
    names = [stage.name for stage in found.stages]
    assert names == [
        "decode",
        "upload",
        "planes to RGB",
        "network",
        "residual",
        "download",
        "engine",
        "encode",
    ]
    assert found.whole is not None
    assert found.whole.frames == 9
    assert sum(found.whole.fates.values()) == 9
    assert found.whole.total_s > found.whole.start_up_s + found.whole.first_frame_s
    assert found.network.device_events is None  # a CPU has none
    assert found.parity.psnr_db is None  # the same path as the one it is compared with


def test_all_of_it_can_be_said_in_words(found: Bench) -> None:
    tables = bench_report.tables(found)
    assert [title for title, _ in tables] == [
        "The network alone",
        "Each stage alone",
        "The whole, file to file",
    ]
    for _, (head, *lines) in tables:
        assert all(len(line) == len(head) for line in lines)
    words = " ".join(text for _, text in bench_report.remarks(found))
    for expected in ("GMAC a frame", "identical to float32 eager", "torch 2", "96x64", "float32 3x3"):
        assert expected in words


def test_the_encoder_alone_has_the_preset_that_it_has_in_the_whole(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a GPU and few cores that is a faster one."""
    source = probe(str(reel.write_clip(tmp_path / "clip.mp4", 96, 64, 3)))
    options = Asked(weights=weights).engine()
    seen: list[dict[str, str]] = []

    def written(sink: Sink, *rest: Any) -> Writer:
        seen.append(dict(sink.choice.options))
        return Writer(sink, *rest)

    monkeypatch.setattr("vdeblur.video.writer.Writer", written)
    monkeypatch.setattr(plan, "guess_kind", lambda device: "cuda")
    monkeypatch.setattr(plan, "cpu_threads", lambda: 2)
    whole.encode_alone(source, list(reel.frames(96, 64, 3)), tmp_path / "alone.mp4", None, options)
    planned = plan.make_plan(source.source, tmp_path / "whole.mp4", plan.Options(**options))
    assert planned.output is not None
    assert seen == [dict(planned.output.options)]
    assert seen[0]["preset"] == "veryfast"


def ran(count: int) -> whole.Ran:
    """A run of ten frames a second, of whose frames the encoder holds many for two seconds at the end."""
    frames = [{"written_after_s": 1 + n / 10} for n in range(count)]
    wall_s = 1 + count / 10 + 2
    totals = {"wall_s": wall_s, "true_fps": count / wall_s, "fates": {"deblurred": count}, "stages_s": {}}
    cpu = [(n / 10, n / 20) for n in range(2000)]
    return whole.Ran({"totals": totals, "frames": frames, "settings": {}}, wall_s, None, cpu)


def test_frames_that_the_encoder_has_only_taken_in_do_not_count_as_encoded() -> None:
    many = whole.judged(ran(100), ())
    assert many.warm_up_frames == 60  # the encoder is full by then
    assert many.steady_fps == pytest.approx(10)
    assert many.cpu_s == pytest.approx(0.05, rel=0.01)
    few = whole.judged(ran(40), ())
    assert few.warm_up_frames == 0
    assert few.steady_fps == pytest.approx(39 / (4 + 2))
    assert few.cpu_s == pytest.approx(0.5 * 6 / 39, rel=0.01)
    assert whole.judged(ran(1), ()).steady_fps == pytest.approx(1 / 3.1)


def test_without_pyav_the_network_is_measured_and_one_line_says_what_was_not(
    short: None, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = benchmark.importlib.util.find_spec
    monkeypatch.setattr(
        benchmark.importlib.util, "find_spec", lambda name: None if name == "av" else real(name)
    )
    asked = Asked(weights=weights, device="cpu", backend="torch", size=(64, 64))
    (alone,) = bench(asked)
    assert alone.whole is None
    assert alone.network.synchronised.count >= laps.LEAST
    assert [w for w in alone.warnings if "PyAV" in w] == [
        "PyAV is not installed: decoding, encoding and the whole were not measured"
    ]


class Late:
    """A device that works by itself: `start` returns at once, `wait` when everything is done."""

    def __init__(self, lap_s: float) -> None:
        self.queue: Queue[float] = Queue()
        self.lap_s = lap_s
        threading.Thread(target=self._work, daemon=True).start()

    def start(self) -> None:
        self.queue.put(self.lap_s)

    def wait(self) -> None:
        self.queue.join()

    def _work(self) -> None:
        while True:
            time.sleep(self.queue.get())
            self.queue.task_done()


def test_only_waiting_clocks_see_what_a_device_does() -> None:
    device = Late(0.02)
    waited = laps.synchronised(device.start, device.wait, budget_s=0.2)
    asked = laps.launched(device.start, device.wait, count=10)
    assert waited.best_s >= 0.02
    assert asked.p50_s < waited.p50_s / 2
    assert waited.count >= 3


def test_laps_are_of_single_frames_where_one_start_works_on_several() -> None:
    device = Late(0.02)
    assert laps.synchronised(device.start, device.wait, 4, budget_s=0.1).best_s >= 0.02 / 4
    assert laps.synchronised(device.start, device.wait, 4, budget_s=0.1).best_s < 0.02


def test_percentiles_and_spread() -> None:
    made = laps.laps_of([0.001 * n for n in range(1, 102)])
    assert (made.count, made.best_s, made.worst_s) == (101, 0.001, 0.101)
    assert made.p50_s == pytest.approx(0.051)
    assert made.p95_s == pytest.approx(0.096)
    assert made.p99_s == pytest.approx(0.100)
    assert made.spread == pytest.approx(0.090 / 0.051)
    assert made.fps == pytest.approx(1 / 0.051)


def test_products_are_counted_as_carried_out_also_outside_of_modules() -> None:
    x, w = torch.rand(1, 3, 10, 12), torch.rand(5, 3, 3, 3)
    with torch.inference_mode():
        counted = yardstick.operations(lambda: torch.nn.functional.conv2d(x, w, padding=1))
    assert counted == 2 * 3 * 3 * 3 * 5 * 10 * 12


def test_a_torch_without_convolutions_in_int8_leaves_their_peak_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch, "quantize_per_tensor")
    assert yardstick.peak("cpu", "int8") is None


def doubted(found: Bench, **changes: Any) -> list[str]:
    return list(benchmark.doubts(dataclasses.replace(found, **changes)))


def test_more_than_the_device_can_do_is_called_a_measuring_error(found: Bench) -> None:
    above = dataclasses.replace(found.network, work=Work(10, 2.0, 1.9, "3x3 convolutions"))
    below = dataclasses.replace(found.network, work=Work(10, 1.8, 1.9, "3x3 convolutions"))
    assert any("must be a measuring error" in text for text in doubted(found, network=above, whole=None))
    assert not any("must be a measuring error" in text for text in doubted(found, network=below, whole=None))


def test_frames_that_were_not_plainly_deblurred_are_named(found: Bench) -> None:
    assert found.whole is not None
    other = dataclasses.replace(found.whole, fates={"deblurred": 7, "redone in float32": 2})
    assert "2 of 9 frames: redone in float32" in doubted(found, whole=other)


def test_a_run_that_computes_another_way_is_noticed(found: Bench) -> None:
    """Kernels are chosen by their time, in each process anew."""
    assert found.whole is not None
    alone = {"way": "float16 with fused convolutions", "frames_at_a_time": 2, "trial_ms_per_frame": 4.56}
    engine = found.engine | alone
    same = dataclasses.replace(found.whole, way=alone | {"trial_ms_per_frame": 4.6})
    assert not [text for text in doubted(found, engine=engine, whole=same) if "another way" in text]
    for change in ({"way": "float16"}, {"frames_at_a_time": 1}):
        other = dataclasses.replace(found.whole, way=alone | change)
        assert [text for text in doubted(found, engine=engine, whole=other) if "another way" in text]
    said = dict(bench_report.remarks(dataclasses.replace(found, engine=engine)))
    assert said["way"] == "float16 with fused convolutions, frames at a time: 2, chosen by 4.56 ms a frame"


def test_cores_that_others_use_are_noticed(found: Bench) -> None:
    made = laps.laps_of([0.1] * 5, cpu=[0.1] * 5)
    network = dataclasses.replace(found.network, synchronised=made)
    texts = doubted(found, network=network, engine={**found.engine, "threads": 2}, whole=None)
    assert any("1.0 of 2 cores" in text for text in texts)
    texts = doubted(found, network=network, engine={**found.engine, "threads": 1}, whole=None)
    assert not any("cores" in text for text in texts)


def test_parity_is_that_of_all_planes_in_codes_of_eight_bits() -> None:
    (frame,) = reel.frames(64, 48, 1)
    off = dataclasses.replace(frame, planes=tuple(plane + np.uint8(1) for plane in frame.planes))
    parity = alone.parity([frame], [off])
    assert parity.psnr_db == pytest.approx(48.1308, abs=1e-3)  # 20 log10 255
    assert (parity.p999, parity.greatest) == (1.0, 1.0)
    assert alone.parity([frame], [frame]).psnr_db is None


@pytest.mark.parametrize("name", untrained.MAKERS)
def test_networks_without_weights_can_be_measured_with_made_up_ones(name: str, tmp_path: Path) -> None:
    model, path, made_up = untrained.find_or_make(name, None, "cpu", tmp_path)
    assert made_up
    assert path is not None
    assert model == ("@ensemble" if name == "mimo-unet-plus-plus" else "auto")
    network = loading.load_network(path).network
    with torch.inference_mode():
        difference = network.correction(torch.rand(1, 3, 32, 32))
    assert is_sound(difference)
    assert float(difference.abs().max()) > 0


def test_unknown_names_are_still_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no weights of that name"):
        untrained.find_or_make("mimo-net", None, "cpu", tmp_path)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked(size=(720, 1281)), "--size 1281x720: both sides must be even"),
        (Asked(size=(32, 64)), "64 at least"),
        (Asked(frames=2), "--frames 2: 8 at least"),
        (Asked(input=Path("missing.mp4")), "--input missing.mp4: no such file"),
        (Asked(input=Path("missing.mp4"), size=(64, 64)), "leave it out with --input"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(asked: Asked, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check(asked)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON"),
        ("[]", "not written by"),
        ('{"form": 0}', "of form 0, this version writes 2"),
        ('{"form": 2, "sweep": []}', "written by --sweep"),
    ],
)
def test_other_files_are_not_compared_with(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        bench_rows.read(path, "--compare")


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (VdeblurError("the run that was to be timed failed: no space"), 1, "no space"),
    ],
)
def test_what_was_measured_is_kept_when_the_whole_is_not(
    found: Bench,
    failure: BaseException,
    code: int,
    words: str,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(*parts: object) -> None:
        raise failure

    monkeypatch.setattr("vdeblur.measure.whole.run", fails)
    target = tmp_path / "found.json"
    options = ["--weights", str(weights), "--device", "cpu", "--backend", "torch", "--size", "96x64"]
    assert main(["bench", *options, "--frames", "9", "--json", str(target)]) == code
    plain = json.loads(target.read_text(encoding="utf-8"))
    assert_form(plain, FORM | {"whole": type(None)})
    assert plain["network"]["fps"] > 0
    assert any("ended before" in text for text in plain["warnings"])
    said = capsys.readouterr()
    assert words in said.err
    assert "The network alone" in said.out
    # And it can be compared with, and stand beside others.
    old = bench_rows.read(target, "--compare")
    assert not [
        line for _, lines in bench_report.compared(found, old) for line in lines if "whole" in line[0]
    ]


def test_two_benchmarks_side_by_side(found: Bench, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(bench_rows.json_text(found), encoding="utf-8")
    old = bench_rows.read(path, "--compare")
    ((title, (_, *lines)),) = bench_report.compared(found, old)
    assert title == "Compared"
    assert {line[0] for line in lines} >= {"network alone", "decode", "engine", "the whole, steady"}
    assert {line[-1] for line in lines} == {"1.000"}
    old["engine"]["precision"] = "bf16"
    assert bench_report.compared(found, old)[0] == (
        "Not the same",
        [("", "before", "now"), ("precision", "bf16", "fp32")],
    )


def test_an_interrupted_sweep_keeps_what_it_has(
    found: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, plain = tmp_path / "sweep.json", bench_rows.values(found)

    def one(answers: Iterator[Any]) -> Callable[[Asked, Path], dict[str, Any]]:
        def answer(asked: Asked, path: Path) -> dict[str, Any]:
            given = next(answers)
            if isinstance(given, BaseException):
                raise given
            return {**plain, **given, "asked": dataclasses.asdict(asked)}

        return answer

    monkeypatch.setattr(sweep, "_one", one(iter([{}, {"error": "no such thing"}, KeyboardInterrupt()])))
    rows: list[dict[str, Any]] = []
    with pytest.raises(KeyboardInterrupt):
        rows.extend(sweep.sweep(Asked(device="cpu"), target))
    assert [row["asked"]["model"] for row in rows] == ["mimo-unet-tiny"] * 2
    kept = json.loads(target.read_text(encoding="utf-8"))
    assert len(kept["sweep"]) == 2
    table = sweep.table(rows)
    assert all(len(line) == len(table[0]) for line in table)
    assert any("no such thing" in line[-1] for line in table)


def test_a_benchmark_of_a_sweep_that_fails_keeps_what_it_measured_and_says_why(
    found: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "one.json"
    partial = dataclasses.replace(found, whole=None, warnings=("it ended before",))

    def fails(command: Sequence[str]) -> tuple[str, int]:
        if "mimo-unet" in command:
            target.write_text(bench_rows.json_text(partial), encoding="utf-8")
        return "a warning\nvdeblur: no space\n", 1

    monkeypatch.setattr(sweep, "_run", fails)
    asked = Asked(model="mimo-unet", size=(64, 96))
    row = sweep._one(asked, target)
    assert row["network"]["fps"] == pytest.approx(found.network.synchronised.fps)
    assert row["warnings"] == ["no space", "it ended before"]
    assert not target.exists()
    assert sweep._one(dataclasses.replace(asked, model="auto"), target)["error"] == "no space"


def test_a_sweep_that_is_stopped_lets_its_benchmark_clear_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import signal, sys, time, pathlib\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "def end(*_):\n"
        "    time.sleep(0.5); (here / 'left').unlink(); sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "(here / 'left').touch(); (here / 'begun').touch(); time.sleep(20)\n"
    )

    main_thread = threading.get_ident()

    def stop() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.02)
        signal.pthread_kill(main_thread, signal.SIGINT)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        sweep._run([sys.executable, "-c", program, str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]


def test_published_figures_stand_at_their_size_each_with_its_gpu(found: Bench) -> None:
    row = {
        **bench_rows.values(found),
        "asked": {"model": "deepdeblur", "precision": "fp16", "size": [720, 1280]},
    }
    published = [line for line in sweep.table([row]) if "published" in line[-1]]
    assert len(published) == len(sweep.PUBLISHED)
    assert all("RTX" in line[3] for line in published)
    small = {**row, "asked": {**row["asked"], "size": [360, 640]}}
    assert not [line for line in sweep.table([small]) if "published" in line[-1]]


def test_a_sweep_goes_through_all_sizes_networks_and_precisions() -> None:
    asked = list(sweep.combinations(Asked(device="cpu"), PACKAGE_NAMES))
    assert {each.size for each in asked} == set(sweep.SIZES)
    assert {each.model for each in asked} == set(PACKAGE_NAMES)
    assert {each.precision for each in asked} >= {"fp32", "int8"}
    assert [each.size for each in asked] == sorted(each.size for each in asked if each.size)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for nvidia-smi is a shell script")
def test_clocks_are_those_of_the_device_that_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under CUDA_VISIBLE_DEVICES torch's numbers are not those of nvidia-smi."""
    program = tmp_path / "nvidia-smi"
    program.write_text(
        '#!/bin/sh\ncase "$1" in\n'
        '--id=GPU-1234-ab) echo "A GPU, 580, 1, 2, 3, 4, 5, 6";;\n'
        "*) exit 6;;\nesac\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    properties = SimpleNamespace(uuid="1234-ab")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    found = machine._gpu("cuda:1")
    assert (found["name"], found["driver"], found["temperature_c"]) == ("A GPU", "580", "6")


def test_frames_made_on_the_spot_are_the_same_each_time_and_move() -> None:
    one, again = list(reel.frames(96, 64, 3)), list(reel.frames(96, 64, 3))
    for a, b in zip(one, again, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True))
    assert not np.array_equal(one[0].planes[0], one[1].planes[0])
    assert [frame.pts for frame in one] == [0, 1, 2]
