"""The ring on a device whose streams are as late, as early and as unfair as CUDA allows.

What runs is the code that runs on a GPU, but for CUDA itself: lane, opening, station, slots, ring.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from engine import standins
from engine.late import Kind, LateDevice, Schedule
from engine.pictures import FORMATS, layout, noise_frame, smooth_frame
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vdeblur.engine import opening, tiles
from vdeblur.engine.corrector import Corrector
from vdeblur.engine.cuda import Cuda, CudaLane
from vdeblur.engine.device import Choice, Precision
from vdeblur.engine.eager import EagerLane
from vdeblur.engine.lane import padded
from vdeblur.engine.opening import SLOTS
from vdeblur.errors import VdeblurError
from vdeblur.frame import Fate, Frame, PlaneLayout
from vdeblur.models.contract import DeblurNetwork

GREY = layout("gray", 16, 8, "full")
HAZARDS: dict[Kind, str] = {
    ("compute", "uploaded"): "the network reads planes that have not come yet",
    ("download", "computed"): "planes are fetched that have not been written yet",
    ("host", "downloaded"): "planes are read that have not come back, and written over while in use",
}


class TowardsGrey(standins.StandIn):
    """Takes a tenth of the contrast away: another result for another picture, the same in every layout."""

    def correction(self, rgb: Tensor) -> Tensor:
        return 0.1 * (0.5 - rgb)


class FailsOnWhite(TowardsGrey):
    def correction(self, rgb: Tensor) -> Tensor:
        if float(rgb.mean()) > 0.99:
            raise RuntimeError("the device is gone")
        return super().correction(rgb)


class Greedy(TowardsGrey):
    """Runs out of memory for more pixels than `room`."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def correction(self, rgb: Tensor) -> Tensor:
        if rgb.shape[0] * rgb.shape[-2] * rgb.shape[-1] > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().correction(rgb)


def corrector(network: DeblurNetwork, precision: Precision = "fp32") -> Corrector:
    return Corrector(network, Choice("cpu", "cuda", "a late device", precision, "cuda"))


def open_lane(
    network: DeblurNetwork,
    schedule: Schedule,
    lay: PlaneLayout = GREY,
    *,
    precision: Precision = "fp32",
    latency: bool = False,
    devices: Sequence[LateDevice] = (),
) -> CudaLane:
    engine = corrector(network, precision)
    grid = tiles.whole(*padded(lay, engine.multiple_of))
    return CudaLane(engine, lay, grid, 1.0, latency=latency, devices=devices or [LateDevice(schedule)])


def frames_of(count: int, lay: PlaneLayout = GREY, dark: Sequence[int] = ()) -> list[Frame]:
    made = [smooth_frame(lay, seed, seed) for seed in range(count)]
    for number in dark:
        made[number] = dataclasses.replace(made[number], planes=(np.full((8, 16), 20, np.uint8),))
    return made


def expected_of(network: DeblurNetwork, frames: Sequence[Frame]) -> list[Frame]:
    """By plain torch, which has no streams."""
    engine = corrector(network)
    lay = frames[0].layout
    grid = tiles.whole(*padded(lay, engine.multiple_of))
    return list(EagerLane(engine, lay, grid, 1.0).deblur(frames))


def same(found: Sequence[Frame], expected: Sequence[Frame]) -> bool:
    """Frames of the same times, fates and bits, in the same order."""
    return len(found) == len(expected) and all(
        dataclasses.replace(a, planes=b.planes) == b
        and all(np.array_equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))
        for a, b in zip(found, expected, strict=True)
    )


def schedules() -> Iterator[Schedule]:
    """As late as possible, as early as possible, and by chance."""
    yield Schedule(0.0)
    yield Schedule(1.0)
    for seed in range(30):
        yield Schedule(0.3 + 0.6 * (seed % 3) / 2, random.Random(seed))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    haste=st.floats(0.0, 1.0),
    count=st.integers(0, 12),
    devices=st.integers(1, 3),
    latency=st.booleans(),
    slower=st.sampled_from([2.0, 0.0]),
)
def test_every_frame_comes_back_right_and_in_order(
    seed: int, haste: float, count: int, devices: int, latency: bool, slower: float
) -> None:
    """Whatever the schedule, the number of devices and the batches (with `slower` 0 they cost nothing)."""
    schedule = Schedule(haste, random.Random(seed))
    machines = [LateDevice(schedule, lambda lap: lap**slower) for _ in range(devices)]
    network = TowardsGrey()
    frames = frames_of(count)
    lane = open_lane(network, schedule, latency=latency, devices=machines)
    found = list(lane.deblur(frames))
    assert found == [] if count == 0 else same(found, expected_of(network, frames))


def test_no_wait_can_be_left_out() -> None:
    """Each wait that the ring asks for stands for a hazard, and without it some schedule goes wrong."""
    frames = frames_of(9)
    expected = expected_of(TowardsGrey(), frames)

    def holds(schedule: Schedule) -> bool:
        return same(list(open_lane(TowardsGrey(), schedule).deblur(frames)), expected)

    asked: set[Kind] = set()
    for schedule in schedules():
        assert holds(schedule)
        asked |= schedule.waits
    assert asked == set(HAZARDS)
    for kind, hazard in HAZARDS.items():
        crippled = [dataclasses.replace(schedule, without=frozenset({kind})) for schedule in schedules()]
        assert not all(holds(schedule) for schedule in crippled), f"not needed: {hazard}"


@pytest.mark.parametrize("devices", [1, 2])
def test_nothing_is_made_after_the_opening(devices: int) -> None:
    schedule = Schedule(0.5)
    lane = open_lane(TowardsGrey(), schedule, devices=[LateDevice(schedule) for _ in range(devices)])
    results = lane.deblur(frames_of(60))
    next(results)
    after_opening = dict(schedule.made)
    assert sum(1 for _ in results) == 59
    assert dict(schedule.made) == after_opening
    # And for a second source neither.
    assert len(list(lane.deblur(frames_of(5)))) == 5
    assert dict(schedule.made) == after_opening


@pytest.mark.parametrize(
    ("devices", "latency", "ahead"), [(1, False, SLOTS), (2, False, 2 * SLOTS), (1, True, 1)]
)
def test_frames_in_flight_are_as_many_as_slots(devices: int, latency: bool, ahead: int) -> None:
    schedule = Schedule(0.0)
    taken: list[int] = []

    def source() -> Iterator[Frame]:
        for frame in frames_of(12):
            taken.append(frame.index)
            yield frame

    machines = [LateDevice(schedule) for _ in range(devices)]
    lane = open_lane(TowardsGrey(), schedule, latency=latency, devices=machines)
    for number, result in enumerate(lane.deblur(source())):
        assert result.index == number
        assert len(taken) == min(12, number + ahead)


def test_for_one_picture_nothing_is_captured() -> None:
    """Opening takes longer than the picture; with `latency` more will come, one at a time."""
    schedule = Schedule()
    lane = open_lane(TowardsGrey(), schedule)
    one, more = frames_of(1), frames_of(4)
    assert same(list(lane.deblur(one)), expected_of(TowardsGrey(), one))
    assert not schedule.made
    assert same(list(lane.deblur(more)), expected_of(TowardsGrey(), more))
    made = dict(schedule.made)
    assert made["graph"]
    assert same(list(lane.deblur(one)), expected_of(TowardsGrey(), one))
    assert dict(schedule.made) == made
    assert list(open_lane(TowardsGrey(), schedule, latency=True).deblur(one))
    assert schedule.made["graph"] > made["graph"]


def test_a_further_device_that_is_full_takes_no_part() -> None:
    """Another program's work on the second GPU must not end the run, nor cut the first one's pictures."""

    class Full(LateDevice):
        def memory(self, size: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

        def settle(self) -> None:
            raise RuntimeError("CUDA error: out of memory")

    schedule = Schedule(0.5)
    devices = [LateDevice(schedule), Full(schedule), LateDevice(schedule)]
    lane = open_lane(TowardsGrey(), schedule, devices=devices)
    frames = frames_of(8)
    assert same(list(lane.deblur(frames)), expected_of(TowardsGrey(), frames))
    assert lane._corrector.notes == [
        "cpu takes no part: CUDA out of memory. Tried to allocate 2.00 MiB.",
    ]
    uploads = [stream.done for stream in schedule.streams if stream.name == "upload" and stream.done]
    assert uploads == [4, 4]
    lane.close()


@pytest.mark.parametrize("name", FORMATS)
def test_planes_of_every_format_travel(name: str) -> None:
    for size in ((37, 21), (16, 9)):
        lay = layout(name, *size)
        frames = [noise_frame(lay, seed, seed) for seed in range(5)]
        network = TowardsGrey()
        found = list(open_lane(network, Schedule(0.3), lay).deblur(frames))
        assert same(found, expected_of(network, frames))


def test_what_fails_in_half_precision_is_done_again_in_its_turn() -> None:
    frames = frames_of(9, dark=(2, 3, 7))
    network = standins.WildWhenDark()
    for schedule in (Schedule(0.0), Schedule(1.0), Schedule(0.5)):
        found = list(open_lane(network, schedule, precision="fp16").deblur(frames))
        assert [f.index for f in found if f.fate is Fate.REDONE] == [2, 3, 7]
        plain = [dataclasses.replace(f, fate=Fate.DEBLURRED) for f in found]
        assert same(plain, expected_of(network, frames))


def test_what_is_wrong_in_float32_too_passes() -> None:
    frames = frames_of(6, dark=(2,))
    for precision in ("fp16", "fp32"):
        found = list(open_lane(standins.NonsenseWhenDark(), Schedule(), precision=precision).deblur(frames))
        assert [f.fate for f in found] == [Fate.REFUSED if n == 2 else Fate.DEBLURRED for n in range(6)]
        assert found[2].planes is frames[2].planes


def test_in_a_batch_only_the_doubtful_frame_is_done_again() -> None:
    frames = frames_of(10, dark=(5,))

    class DarkOneOfSome(TowardsGrey):
        def correction(self, rgb: Tensor) -> Tensor:
            result = super().correction(rgb)
            if rgb.dtype == torch.float16:
                result[rgb.mean(dim=(1, 2, 3)) < 0.2] = float("inf")
            return result

    schedule = Schedule(0.4)
    device = LateDevice(schedule, lambda lap: 1.0)  # a batch takes as long as a frame
    lane = open_lane(DarkOneOfSome(), schedule, precision="fp16", devices=[device])
    found = list(lane.deblur(frames))
    assert [f.index for f in found] == list(range(10))
    assert [f.index for f in found if f.fate is Fate.REDONE] == [5]


@pytest.mark.parametrize("after", [0, 1, 4, 7])
def test_when_the_source_fails_its_frames_come_first(after: int) -> None:
    frames = frames_of(8)

    def source() -> Iterator[Frame]:
        yield from frames[:after]
        raise ValueError("broken off")

    found: list[Frame] = []
    with pytest.raises(ValueError, match="broken off"):
        found.extend(open_lane(TowardsGrey(), Schedule(0.2)).deblur(source()))
    assert [frame.index for frame in found] == list(range(after))


def test_an_error_of_the_device_comes_out() -> None:
    white = np.full((8, 16), 255, np.uint8)
    frames = [dataclasses.replace(f, planes=(white,)) if f.index == 4 else f for f in frames_of(9)]
    results = open_lane(FailsOnWhite(), Schedule(0.0)).deblur(frames)
    with pytest.raises(RuntimeError, match="the device is gone"):
        list(results)


@pytest.mark.parametrize("haste", [0.0, 0.4])
def test_a_lane_that_was_left_in_the_middle_goes_on_with_another_source(haste: float) -> None:
    schedule = Schedule(haste)
    lane = open_lane(TowardsGrey(), schedule)
    results = lane.deblur(frames_of(9))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert not any(callable(work) for stream in schedule.streams for work in stream.queue)
    others = [smooth_frame(GREY, 100 + seed, seed) for seed in range(5)]
    assert same(list(lane.deblur(others)), expected_of(TowardsGrey(), others))
    lane.close()
    lane.close()


def test_a_fast_way_that_deviates_is_not_used_and_said() -> None:
    lane = open_lane(standins.WildInLowPrecision(), Schedule(), precision="fp16")
    assert [result.fate for result in lane.deblur(frames_of(2))] == [Fate.DEBLURRED] * 2
    notes = lane._corrector.notes
    assert len(notes) == 2
    assert all("float16" in note and " is not used: " in note for note in notes)
    assert lane._corrector.choice.precision == "fp32"


def test_every_place_of_a_batch_is_compared_with_one_careful_result(monkeypatch: pytest.MonkeyPatch) -> None:
    class LastIsWild(TowardsGrey):
        def correction(self, rgb: Tensor) -> Tensor:
            result = super().correction(rgb).clone()
            if rgb.dtype == torch.float16 and len(rgb) > 2:
                result[-1] = 0.5
            return result

    asked: list[int] = []
    careful = Corrector.careful

    def counted(self: Corrector, rgb: Tensor, grid: tiles.Grid) -> Tensor:
        asked.append(len(rgb))
        return careful(self, rgb, grid)

    monkeypatch.setattr(Corrector, "careful", counted)
    schedule = Schedule()
    lane = open_lane(
        LastIsWild(), schedule, precision="fp16", devices=[LateDevice(schedule, lambda lap: 1.0)]
    )
    list(lane.deblur(frames_of(2)))
    assert lane.describe()["frames_at_a_time"] == 2
    # Two pictures each for two ways of float16, two frames at a time, and four, which do not hold.
    assert asked == [1] * 8


def test_a_batch_that_cannot_run_here_leaves_what_holds() -> None:
    class OneAtATime(TowardsGrey):
        def correction(self, rgb: Tensor) -> Tensor:
            if len(rgb) > 1:
                raise LookupError("no kernel for this shape")  # compilers have errors of their own
            return super().correction(rgb)

    frames = frames_of(4)
    lane = open_lane(OneAtATime(), Schedule())
    assert same(list(lane.deblur(frames)), expected_of(TowardsGrey(), frames))
    assert lane._corrector.notes == ["2 frames at a time are not used: no kernel for this shape"]


def test_what_was_chosen_can_be_read() -> None:
    schedule = Schedule()
    device = LateDevice(schedule, lambda lap: (0.004, 0.003, 0.005)[min(lap, 3) - 1])
    lane = open_lane(TowardsGrey(), schedule, precision="fp16", devices=[device])
    assert lane.describe() == {}
    list(lane.deblur(frames_of(2)))
    described = lane.describe()
    assert described.pop("opened_in_s") >= 0
    assert described == {"way": "float16", "frames_at_a_time": 4, "trial_ms_per_frame": 1.25}
    lane.close()
    assert lane.describe() == {}


def test_a_fast_way_is_not_judged_by_a_black_picture_alone() -> None:
    """Films begin black, where there is nothing to correct and nothing to go wrong."""

    class WildWithContrast(TowardsGrey):
        def correction(self, rgb: Tensor) -> Tensor:
            low = rgb.dtype == torch.float16
            return super().correction(rgb) * (float("nan") if low and float(rgb.std()) > 0.02 else 1.0)

    black = dataclasses.replace(smooth_frame(GREY), planes=(np.full((8, 16), 90, np.uint8),))
    lane = open_lane(WildWithContrast(), Schedule(), precision="fp16")
    list(lane.deblur([black, black]))
    assert lane._corrector.choice.precision == "fp32"
    # And a first frame that goes wrong counts too, however well the made-up picture goes.
    lane = open_lane(standins.WildWhenDark(), Schedule(), precision="fp16")
    list(lane.deblur(frames_of(2, dark=(0, 1))))
    assert lane._corrector.choice.precision == "fp32"


def test_memory_for_comparing_does_not_cut_the_work_itself() -> None:
    """float32 needs twice the memory of float16: what has no room for it whole is compared in tiles."""

    class GreedyInFloat32(TowardsGrey):
        def correction(self, rgb: Tensor) -> Tensor:
            if rgb.dtype == torch.float32 and rgb.shape[-2] * rgb.shape[-1] > 400 * 400:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return super().correction(rgb)

    lay = layout("gray", 640, 400, "full")
    lane = open_lane(GreedyInFloat32(), Schedule(), lay, precision="fp16")
    assert [f.fate for f in lane.deblur(frames_of(2, lay))] == [Fate.DEBLURRED] * 2
    assert lane.grid.is_whole
    assert lane._corrector.notes == []


def test_a_way_that_cannot_run_here_gives_way_to_the_next() -> None:
    class OnlyFloat32(TowardsGrey):
        def correction(self, rgb: Tensor) -> Tensor:
            if rgb.dtype == torch.float16:
                raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED\nand more")
            return super().correction(rgb)

    frames = frames_of(4)
    lane = open_lane(OnlyFloat32(), Schedule(), precision="fp16")
    assert same(list(lane.deblur(frames)), expected_of(TowardsGrey(), frames))
    assert lane._corrector.notes[0].endswith("is not used: cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")


def test_where_nothing_can_be_captured_plain_torch_does_the_work() -> None:
    class NoGraphs(LateDevice):
        def capture(self, work: object, stream: object) -> object:  # type: ignore[override]
            raise RuntimeError("operation not permitted when stream is capturing")

    frames = frames_of(4)
    lane = open_lane(TowardsGrey(), Schedule(), devices=[NoGraphs(Schedule())])
    assert same(list(lane.deblur(frames)), expected_of(TowardsGrey(), frames))
    assert lane._corrector.notes[-1].endswith("running plain torch")


@pytest.mark.parametrize(
    ("version", "is_ended", "expected"),
    [
        ("2.11.0", False, ["renew", "end", "release"]),
        ("2.11.0", True, ["renew", "end"]),
        ("2.12.0", False, []),
    ],
)
def test_a_failed_capture_is_taken_out_of_the_books_once(
    version: str, is_ended: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A capture that was ended gives its memory back by itself; a second time would end the process."""
    said: list[str] = []

    class Random(torch.Generator):
        def graphsafe_set_state(self, state: torch.Generator) -> None:
            assert state is not self
            said.append("renew")

    def end(index: int, pool: tuple[int, int]) -> None:
        assert (index, pool) == (1, (0, 7))
        said.append("end")
        if is_ended:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")

    monkeypatch.setattr(torch, "__version__", type(torch.__version__)(version))
    monkeypatch.setattr(torch.cuda, "default_generators", (None, Random()))
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", end, raising=False)
    monkeypatch.setattr(
        torch._C, "_cuda_releasePool", lambda index, pool: said.append("release"), raising=False
    )
    Cuda(torch.device("cuda:1"))._abandon((0, 7))
    assert said == expected


def test_memory_that_runs_out_leads_to_smaller_tiles() -> None:
    lay = layout("gray", 640, 400, "full")
    frames = frames_of(4, lay)
    for lane in (
        open_lane(Greedy(400 * 400), Schedule(), lay),
        EagerLane(corrector(Greedy(400 * 400)), lay, tiles.whole(400, 640), 1.0),
    ):
        found = list(lane.deblur(frames))
        assert [f.fate for f in found] == [Fate.DEBLURRED] * 4
        for frame, right in zip(found, expected_of(TowardsGrey(), frames), strict=True):
            assert np.abs(frame.planes[0].astype(int) - right.planes[0]).max() <= 1
        assert lane._corrector.notes == [
            "out of memory: going on in tiles of 512x400",
            "out of memory: going on in tiles of 384x384",
        ]


def test_memory_for_no_tile_at_all_is_one_sentence() -> None:
    lay = layout("gray", 640, 400, "full")
    with pytest.raises(VdeblurError, match=r"^out of memory on a late device, .*--model"):
        list(open_lane(Greedy(100), Schedule(), lay).deblur(frames_of(2, lay)))


def test_the_steps_of_a_frame_can_be_taken_one_by_one() -> None:
    """They are what is timed, so each must do its work, again and again, and leave the ring as it was."""
    schedule = Schedule(0.5)
    lane = open_lane(TowardsGrey(), schedule)
    frames = frames_of(4)
    steps = lane.steps(frames[0])
    assert list(steps) == ["upload", "planes to RGB", "network", "residual", "download"]
    for step in steps.values():
        done = sum(stream.done for stream in schedule.streams)
        step.start()
        step.start()
        schedule.finish()
        assert sum(stream.done for stream in schedule.streams) == done + 2
    assert same(list(lane.deblur(frames)), expected_of(TowardsGrey(), frames))


def test_the_first_frame_does_not_wait_for_what_might_be_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library may compile for a minute: then the first way that holds is good enough."""
    schedule = Schedule()
    device = LateDevice(schedule, lambda lap: 1.0)
    monkeypatch.setattr(opening, "PATIENCE_S", -1.0)
    lane = open_lane(TowardsGrey(), schedule, precision="fp16", devices=[device])
    assert len(list(lane.deblur(frames_of(3)))) == 3
    assert schedule.made["graph"] == 1


def test_only_batches_that_pay_are_taken() -> None:
    def frames_at_a_time(seconds: list[float]) -> int:
        schedule = Schedule()
        device = LateDevice(schedule, lambda lap: seconds[min(lap, len(seconds)) - 1])
        lane = open_lane(TowardsGrey(), schedule, devices=[device])
        list(lane.deblur(frames_of(2)))
        return int(lane.describe()["frames_at_a_time"])

    assert frames_at_a_time([1.0, 2.0]) == 1
    assert frames_at_a_time([1.0, 1.5, 3.0]) == 2
    assert frames_at_a_time([1.0, 1.5, 2.0]) == 4
