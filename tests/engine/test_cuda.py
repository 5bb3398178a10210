"""The ring on a real GPU: what no late device can show. `tests/engine/test_ring.py` has the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine import standins
from engine.pictures import FORMATS, layout, noise_frame, smooth_frame
from engine.test_rewrite import NETWORKS, trained_a_little

from vdeblur.engine import opening, ways
from vdeblur.engine.corrector import trial_picture
from vdeblur.engine.deblurrer import Deblurrer
from vdeblur.frame import Fate, Frame, Plane
from vdeblur.models.contract import DeblurNetwork
from vdeblur.models.mimo_unet import MimoUNet, RotationEnsemble
from vdeblur.models.msresnet import MSResNet

pytestmark = pytest.mark.cuda
LAY = layout("yuv420p", 320, 180)
DONE = Fate.DEBLURRED


@pytest.fixture(autouse=True)
def _the_first_way_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries choose kernels, and compile them, for every way and batch: one test here tries them all."""
    monkeypatch.setattr(opening, "PATIENCE_S", 0.0)
    monkeypatch.setattr(ways, "SEARCH_S", 1.0)


def gentle(make: Callable[[], DeblurNetwork], seed: int = 0) -> DeblurNetwork:
    """A network with corrections such as real ones have, so that the guard lets them through."""
    network = trained_a_little(make, seed)
    inner = network.network if isinstance(network, RotationEnsemble) else network
    last = inner.feat_extract[5] if isinstance(inner, MimoUNet) else inner.body_models[-1].body[-1]
    picture = trial_picture(96)
    with torch.no_grad():
        result = network(picture) - (0.5 if isinstance(inner, MSResNet) else picture)
        for parameter in last.parameters():
            parameter.mul_(0.01 / result.square().mean().sqrt())
    return network


def pairs(some: Iterable[Frame], others: Iterable[Frame]) -> Iterator[tuple[Plane, Plane]]:
    """Their planes, side by side, as integers."""
    for one, other in zip(some, others, strict=True):
        assert (one.index, one.fate) == (other.index, DONE)
        yield from zip(
            (p.astype(int) for p in one.planes), (p.astype(int) for p in other.planes), strict=True
        )


def psnr(one: Frame, other: Frame) -> float:
    squares = [np.mean((a.astype(float) - b) ** 2) for a, b in zip(one.planes, other.planes, strict=True)]
    return float(10 * np.log10(255**2 / max(float(np.mean(squares)), 1e-12)))


@pytest.mark.parametrize("stem", ["full", "half"])
@pytest.mark.parametrize("backend", ["cuda", "torch"])
def test_half_precision_is_close_to_float32(stem: str, backend: str) -> None:
    network = gentle(lambda: MimoUNet(channels=16, blocks=2, stem=stem))  # type: ignore[arg-type]
    frames = [smooth_frame(LAY, seed, seed) for seed in range(7)]
    careful = list(Deblurrer(network, device="cpu", precision="fp32").deblur(frames))
    engine = Deblurrer(network, device="cuda:0", precision="fp16", backend=backend)
    fast = list(engine.deblur(frames))
    assert engine.describe()["precision"] == "fp16", engine.notes
    assert [frame.fate for frame in fast] == [Fate.DEBLURRED] * 7
    for one, other, source in zip(fast, careful, frames, strict=True):
        off = np.concatenate(
            [np.abs(a.astype(int) - b).ravel() for a, b in zip(one.planes, other.planes, strict=True)]
        )
        assert np.quantile(off, 0.999) <= 2
        assert abs(psnr(one, source) - psnr(other, source)) < 0.02
        assert one.index == source.index


@pytest.mark.parametrize("name", [name for name in NETWORKS if "four" not in name])
def test_every_family_can_be_captured(name: str) -> None:
    """In float32, so that only the graph, not the rounding, can be what differs."""
    network = gentle(NETWORKS[name])
    grey = layout("gray10le", 320, 180)
    frames = [smooth_frame(grey, seed, seed) for seed in range(4)]
    graph = Deblurrer(network, device="cuda:0", precision="fp32")
    plain = Deblurrer(network, device="cuda:0", precision="fp32", backend="torch")
    assert max(np.abs(a - b).max() for a, b in pairs(graph.deblur(frames), plain.deblur(frames))) <= 1
    assert not [note for note in graph.notes if "not used" in note or "plain torch" in note], graph.notes


@pytest.mark.parametrize("name", FORMATS)
def test_planes_of_every_format_come_back_to_the_bit(name: str) -> None:
    frames = [noise_frame(layout(name, 163, 37), seed, seed) for seed in range(5)]
    results = Deblurrer(standins.ZeroDifference(), device="cuda:0").deblur(frames)
    assert all(np.array_equal(a, b) for a, b in pairs(results, [replace(f, fate=DONE) for f in frames]))


def test_every_way_and_batch_holds_where_triton_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setattr(opening, "PATIENCE_S", 600.0)
    monkeypatch.setattr(ways, "SEARCH_S", 20.0)
    engine = Deblurrer(gentle(lambda: MimoUNet(channels=32, blocks=2)), device="cuda:0", precision="fp16")
    list(engine.deblur([smooth_frame(LAY)] * 2))
    assert not engine.notes


@pytest.mark.parametrize(
    "make", [lambda: standins.ConstantDifference(0.1, 0.0, 0.0), standins.NonsenseWhenDark]
)
def test_after_a_capture_that_failed_another_network_gets_its_graph(
    make: Callable[[], DeblurNetwork],
) -> None:
    """They copy from and to ordinary memory of the host, which no graph allows."""
    frames = [smooth_frame(LAY, seed, seed) for seed in range(4)]
    refused = Deblurrer(make(), device="cuda:0")
    assert len(list(refused.deblur(frames))) == 4
    assert refused.notes[-1].endswith("running plain torch")
    assert "way" not in refused.describe()
    refused.close()
    torch.cuda.empty_cache()  # what a failed capture leaves behind would show here,
    torch.randn(8, device="cuda")  # and here
    good = Deblurrer(gentle(lambda: MimoUNet(channels=8, blocks=1)), device="cuda:0", precision="fp32")
    assert [frame.fate for frame in good.deblur(frames)] == [DONE] * 4
    assert good.describe()["way"] == "float32", good.notes


def test_nothing_is_allocated_or_waited_for_in_the_steady_state() -> None:
    """But for the oldest frame's event."""
    engine = Deblurrer(gentle(lambda: MimoUNet(channels=16, blocks=2)), device="cuda:0")
    frames = [smooth_frame(LAY, seed, seed) for seed in range(200)]
    seen: list[tuple[int, int]] = []
    try:
        for index, _ in enumerate(engine.deblur(frames)):
            if index in (20, 190):
                stats, host = torch.cuda.memory_stats(0), torch.cuda.host_memory_stats()
                seen.append((stats["allocation.all.allocated"], host.get("allocations.allocated", 0)))
                torch.cuda.set_sync_debug_mode("error" if index == 20 else "default")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert seen[0] == seen[1]


def test_what_overflows_is_done_again_in_its_turn() -> None:
    class WildWhenDark(standins.StandIn):
        """Without a look at values on the host, which no graph allows."""

        def correction(self, rgb: torch.Tensor) -> torch.Tensor:
            result = torch.full_like(rgb, 0.02)
            if rgb.dtype == torch.float16:
                dark = rgb.float().mean(dim=(1, 2, 3), keepdim=True) < 0.3
                result = torch.where(dark, torch.inf, result)
            return result

    lay = layout("gray", 64, 32, "full")
    dark = Frame((np.full((32, 64), 20, np.uint8),), lay, 0, smooth_frame(lay).time_base, 1, 0)
    frames = [dark if n in (3, 8) else smooth_frame(lay, n, n) for n in range(12)]
    fates = [frame.fate for frame in Deblurrer(WildWhenDark(), device="cuda:0").deblur(frames)]
    assert [n for n, fate in enumerate(fates) if fate is Fate.REDONE] == [3, 8]
    assert set(fates) == {Fate.REDONE, Fate.DEBLURRED}


def test_tiles_in_a_graph_equal_tiles_without() -> None:
    lay = layout("yuv420p10le", 640, 400)
    network = gentle(lambda: MimoUNet(channels=8, blocks=1))
    frames = [smooth_frame(lay, seed, seed) for seed in range(3)]
    options = {"device": "cuda:0", "precision": "fp32", "tile": 256}
    graph = Deblurrer(network, **options).deblur(frames)  # type: ignore[arg-type]
    plain = Deblurrer(network, backend="torch", **options).deblur(frames)  # type: ignore[arg-type]
    assert max(np.abs(a - b).max() for a, b in pairs(graph, plain)) <= 1


def test_a_new_layout_and_an_early_end_leave_nothing_behind() -> None:
    engine = Deblurrer(MSResNet(features=8, blocks=1), device="cuda:0", precision="fp32")
    small = layout("nv12", 64, 48)
    mixed = [smooth_frame(LAY, n, n) if n < 5 else smooth_frame(small, n, n) for n in range(9)]
    assert [f.index for f in engine.deblur(mixed)] == list(range(9))
    results = engine.deblur(mixed)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert [f.index for f in engine.deblur(mixed)] == list(range(9))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU or none")
def test_several_gpus_share_the_frames_in_order() -> None:
    network = gentle(lambda: MimoUNet(channels=8, blocks=1))
    frames = [smooth_frame(LAY, seed, seed) for seed in range(20)]
    shared = Deblurrer(network, device="cuda", precision="fp32").deblur(frames)
    alone = Deblurrer(network, device="cuda:0", precision="fp32").deblur(frames)
    assert max(np.abs(a - b).max() for a, b in pairs(shared, alone)) <= 1
