"""The training loop on a tiny network: it learns, resumes exactly, averages, judges, and survives a crash."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vdeblur.errors import InputError, VdeblurError
from vdeblur.learn import checkpoint, log, loss
from vdeblur.learn import train as training
from vdeblur.learn.events import Event, Figures, Scored, Started, Stepped
from vdeblur.learn.judge import Score
from vdeblur.learn.muon import orthogonal
from vdeblur.learn.optimise import follow, make_optimizers, rate_at
from vdeblur.learn.settings import Settings
from vdeblur.learn.train import _widest
from vdeblur.models.mimo_unet import MimoUNet

pytest.importorskip("cv2", reason="OpenCV does not load here", exc_type=ImportError)

from learn import material


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return material.write_photographs(tmp_path_factory.mktemp("photographs"))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_checkpoints_and_figures(photographs: Path, tmp_path: Path) -> None:
    said: list[Event] = []
    outcome = material.run(photographs, tmp_path, judged=True, validate_every=4, tell=said.append)
    assert (outcome.steps, outcome.skipped, outcome.stopped) == (6, 0, False)
    scored = [event for event in said if isinstance(event, Scored)]
    assert [event.step for event in scored] == [0, 4, 6]
    assert outcome.best_db == max(event.score.gain_db for event in scored)
    figures = [event for event in said if isinstance(event, Figures)]
    assert [event.step for event in figures] == [2, 4, 6]
    assert figures[0].left_s > figures[2].left_s == 0
    assert checkpoint.load(tmp_path / "last.pt")["step"] == 6
    best = checkpoint.load(tmp_path / "best.pt")
    assert best["gain_db"] == outcome.best_db
    assert best["settings"]["motion"]["longest_px"] == 6
    assert [row["step"] for row in rows(tmp_path)] == ["0", "2", "4", "4", "6", "6"]
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("stop_at", "precision"), [(1, "fp32"), (3, "fp32"), (5, "fp32"), (4, "bf16"), (2, "fp16")]
)
def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    photographs: Path, tmp_path: Path, stop_at: int, precision: str
) -> None:
    """Bit for bit: weights, average, optimizers, figures; with dropout, accumulation, a changing pool."""
    steps = 7
    settings = {
        "steps": steps,
        "accumulate": 2,
        "pool": 8,
        "reuse": 1,
        "log_every": 3,
        "precision": precision,
    }
    whole = material.run(photographs, tmp_path / "whole", material.network(0.1), **settings)
    asked = iter(range(1, steps + 1))
    part = material.run(
        photographs,
        tmp_path / "parts",
        material.network(0.1),
        stop=lambda: next(asked) == stop_at,
        **settings,
    )
    assert part.stopped
    assert part.steps == stop_at
    again = material.run(photographs, tmp_path / "parts", MimoUNet(8, 1, "half", 0.1), **settings)
    assert (again.steps, again.stopped) == (steps, False)
    one, two = (checkpoint.load(tmp_path / name / "last.pt") for name in ("whole", "parts"))
    for key in ("network", "average"):
        assert all(torch.equal(value, two[key][name]) for name, value in one[key].items())
    for before, after in zip(one["optimizers"], two["optimizers"], strict=True):
        torch.testing.assert_close(before, after, rtol=0, atol=0)
    assert one["scaler"] == two["scaler"]
    assert not torch.equal(
        whole.network.feat_extract[0].main[0].weight, material.network().feat_extract[0].main[0].weight
    )  # type: ignore[index,union-attr]
    for a, b in zip(rows(tmp_path / "whole"), rows(tmp_path / "parts"), strict=True):
        assert [a[key] for key in ("step", "loss", "rate", "gradient_norm")] == [
            b[key] for key in ("step", "loss", "rate", "gradient_norm")
        ]


def test_speed_after_going_on_is_that_of_the_steps_since(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps from before the stop belong to the mean of the loss, not to the clock that has just begun."""
    now, said = [0.0], list[Event]()

    def tell(event: Event) -> None:
        said.append(event)
        now[0] += 10 * isinstance(event, Stepped)

    monkeypatch.setattr(training.time, "perf_counter", lambda: now[0])
    asked = iter(range(1, 9))
    material.run(photographs, tmp_path, steps=20, log_every=9, tell=tell, stop=lambda: next(asked) == 8)
    material.run(photographs, tmp_path, steps=20, log_every=9, tell=tell)
    one, two = (event for event in said if isinstance(event, Figures))
    assert (one.step, one.samples_per_s, one.left_s) == (9, 2 / 10, 110)
    assert (two.step, two.samples_per_s, two.left_s) == (18, 2 / 10, 20)


def test_a_run_that_is_ended_while_it_is_judged_loses_nothing(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judging may take minutes: who ends it, or the power, must not cost the steps before it."""
    scores = iter([0.1, None, 0.3, 0.2])

    def judge(network: object) -> Score:
        gain_db = next(scores)
        if gain_db is None:
            raise KeyboardInterrupt
        return Score(gain_db, gain_db, 0.0, 4)

    monkeypatch.setattr(material, "judge_made", lambda pairs: judge)
    settings = {"judged": True, "validate_every": 4, "save_every": 100, "log_every": 100}
    with pytest.raises(KeyboardInterrupt):
        material.run(photographs, tmp_path / "parts", **settings)
    assert checkpoint.load(tmp_path / "parts/last.pt")["step"] == 4
    said: list[Event] = []
    outcome = material.run(photographs, tmp_path / "parts", tell=said.append, **settings)
    scored = [(event.step, event.best) for event in said if isinstance(event, Scored)]
    assert (scored, outcome.best_step) == ([(4, True), (6, False)], 4)
    assert [row["gain_db"] for row in rows(tmp_path / "parts")] == ["0.1", "0.3", "0.2"]
    assert checkpoint.load(tmp_path / "parts/best.pt")["step"] == 4
    whole = material.run(photographs, tmp_path / "whole").network.state_dict()
    assert all(torch.equal(value, whole[key]) for key, value in outcome.network.state_dict().items())


def test_the_best_weights_are_judged_anew_where_others_judge(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A score on easier pairs would never be beaten on harder ones: best.pt would stay for ever."""
    scores = iter([5.0, 4.0, 1.0, 1.5, 0.5, 1.2])
    monkeypatch.setattr(
        material, "judge_made", lambda pairs: lambda network: Score(next(scores), 0.0, 0.0, len(pairs))
    )
    settings = {"judged": True, "validate_every": 4}
    first = material.run(photographs, tmp_path, steps=4, **settings)
    assert (first.best_db, first.best_step) == (5.0, 0)
    earlier = checkpoint.load(tmp_path / "best.pt")["average"]
    said: list[Event] = []
    harder = replace(material.SMALL.motion, longest_px=9)
    second = material.run(photographs, tmp_path, steps=9, motion=harder, tell=said.append, **settings)
    scored = [(event.step, event.score.gain_db, event.best) for event in said if isinstance(event, Scored)]
    assert scored == [(0, 1.0, True), (8, 1.5, True), (9, 0.5, False)]
    assert (second.best_db, second.best_step) == (1.5, 8)
    best = checkpoint.load(tmp_path / "best.pt")
    assert best["settings"]["motion"]["longest_px"] == 9
    assert not all(torch.equal(value, earlier[key]) for key, value in best["average"].items())
    third = material.run(photographs, tmp_path, steps=10, motion=harder, **settings)
    assert (third.best_db, third.best_step) == (1.5, 8)


def test_pairs_that_are_not_blurred_judge_nothing(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A score of 0 on no pair at all would make the weights that a run began with its best ones."""
    monkeypatch.setattr(material, "judge_made", lambda pairs: lambda network: Score(0.0, 0.0, 0.0, 0))
    outcome = material.run(photographs, tmp_path, steps=2, judged=True)
    assert (outcome.best_db, outcome.best_step) == (None, None)
    assert not (tmp_path / "best.pt").exists()


def test_rows_of_steps_lost_in_a_crash_are_taken_out(photographs: Path, tmp_path: Path) -> None:
    material.run(photographs, tmp_path, steps=4, log_every=1, save_every=100)
    state = checkpoint.load(tmp_path / "last.pt")
    with (tmp_path / "log.csv").open("a", encoding="utf-8") as file:
        file.write("5,0.1\n6,0.1\n7,0.")
    said: list[Event] = []
    material.run(photographs, tmp_path, steps=6, log_every=1, tell=said.append)
    assert [row["step"] for row in rows(tmp_path)] == ["1", "2", "3", "4", "5", "6"]
    assert isinstance(said[0], Started)
    assert said[0].step == state["step"] == 4
    assert said[0].notes == ("steps is 6 now, it was 4", "save_every is 3 now, it was 100")


def test_a_table_that_is_no_log_of_a_run_is_left_alone(photographs: Path, tmp_path: Path) -> None:
    mine = "step,loss,dollars\n5,0.1,3\n"
    (tmp_path / "log.csv").write_text(mine, encoding="utf-8")
    with pytest.raises(InputError, match=r"log\.csv: is there already and no log of a run; .* --output"):
        material.run(photographs, tmp_path, steps=1)
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]
    assert (tmp_path / "log.csv").read_text(encoding="utf-8") == mine
    # A run that ended before its first checkpoint begins anew.
    (tmp_path / "log.csv").write_text(",".join(log.COLUMNS) + "\n5,0.1\n", encoding="utf-8")
    material.run(photographs, tmp_path, steps=1, log_every=1)
    assert [row["step"] for row in rows(tmp_path)] == ["1"]


def test_a_folder_takes_one_run_at_a_time(photographs: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def second(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 1:
            with pytest.raises(InputError) as error:
                material.run(photographs, tmp_path)
            refused.append(str(error.value))

    material.run(photographs, tmp_path, steps=2, log_every=1, tell=second)
    assert refused == [f"{tmp_path}: another run is writing it; wait for it, or name another with -o"]
    assert [row["step"] for row in rows(tmp_path)] == ["1", "2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "log.csv"]


def test_steps_whose_gradient_is_not_finite_change_nothing(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(results: tuple[torch.Tensor, ...], targets: object) -> torch.Tensor:
        return results[0].sum() * math.nan

    monkeypatch.setattr(loss, "mimo_loss", broken)
    start = material.network()
    before = {key: value.clone() for key, value in start.state_dict().items()}
    outcome = material.run(photographs, tmp_path, start, steps=3)
    assert outcome.skipped == 3
    assert all(torch.equal(value, before[key]) for key, value in start.state_dict().items())
    assert rows(tmp_path)[0]["skipped"] == "2"


def test_a_run_that_learns_nothing_ends_with_advice(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "mimo_loss", lambda results, targets: results[0].sum() * math.inf)
    with pytest.raises(
        VdeblurError, match=r"step 30: the gradients of 30 steps .* --precision fp32, a lower"
    ):
        material.run(photographs, tmp_path, steps=100, precision="bf16")


def test_a_loss_too_large_for_float16_lowers_its_scale_and_is_learnt_from(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "mimo_loss", lambda results, targets: 3 * results[0].float().sum())
    outcome = material.run(photographs, tmp_path, steps=14, precision="fp16")
    assert 1 <= outcome.skipped < 14
    assert checkpoint.load(tmp_path / "last.pt")["scaler"]["scale"] < 1024


def test_accumulated_steps_are_those_of_one_large_batch(photographs: Path, tmp_path: Path) -> None:
    for parts in (1, 2, 4):
        material.run(
            photographs, tmp_path / str(parts), batch=4 // parts, accumulate=parts, pool=8, log_every=1
        )
    losses = [[float(row["loss"]) for row in rows(tmp_path / str(parts))] for parts in (1, 2, 4)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-5)


def test_workers_give_the_same_run(photographs: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        material.run(photographs, tmp_path / str(workers), workers=workers, batch=3)
    one, two = (checkpoint.load(tmp_path / str(workers) / "last.pt") for workers in (0, 2))
    assert all(torch.equal(value, two["network"][name]) for name, value in one["network"].items())


def test_the_checkpoint_of_another_network_is_refused(photographs: Path, tmp_path: Path) -> None:
    material.run(photographs, tmp_path, steps=1)
    with pytest.raises(InputError, match=r"last\.pt: is the checkpoint of another network"):
        material.run(photographs, tmp_path, MimoUNet(4, 1, "half"), steps=2)


def test_a_damaged_checkpoint_is_named(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"PK nonsense")
    with pytest.raises(InputError, match=r"last\.pt: is no checkpoint, or damaged; move it away"):
        material.run(photographs, tmp_path, steps=1)


def test_an_adversary_learns_beside_the_network(tmp_path: Path) -> None:
    from vdeblur.learn.adversary import Adversary

    torch.manual_seed(0)
    adversary = Adversary(1e-4, torch.device("cpu"))
    sharp = torch.rand(2, 3, 256, 256)
    soft = torch.nn.functional.avg_pool2d(sharp, 5, 1, 2).requires_grad_()
    assert adversary.network(sharp).shape == (2, 1, 1, 1)
    names = {name.rsplit(".", 1)[0] for name in adversary.state()["network"]}
    assert names == {*(f"conv_layers.{i}" for i in range(10)), "dense"}

    def apart() -> float:
        with torch.no_grad():
            return float((adversary.network(sharp) - adversary.network(soft)).mean())

    before = apart()
    for _ in range(3):
        adversary.loss(soft, sharp).backward()  # type: ignore[no-untyped-call]
    assert apart() > before
    assert soft.grad is not None
    assert soft.grad.abs().sum() > 0
    other = Adversary(1e-4, torch.device("cpu"))
    other.restore(adversary.state())
    with torch.no_grad():
        assert torch.equal(other.network(sharp), adversary.network(sharp))


def test_apple_gpus_are_asked_for_no_float64() -> None:
    assert _widest(torch.device("mps")) == torch.float32
    assert _widest(torch.device("cpu")) == _widest(torch.device("cuda")) == torch.float64


def test_the_rate_rises_stays_and_falls() -> None:
    s = Settings(steps=100, decay=40, warm_up=10)
    assert rate_at(0, s) == pytest.approx(0.1)
    assert rate_at(9, s) == rate_at(60, s) == 1.0
    assert rate_at(80, s) == pytest.approx(0.5)
    assert rate_at(99, s) < 0.01


def test_a_run_cut_short_by_an_option_still_learns() -> None:
    """--steps 30 with a recipe's long decay and warm-up: up to the full rate in the middle, then down."""
    s = Settings(steps=30, decay=40_000, warm_up=500)
    rates = [rate_at(step, s) for step in range(30)]
    assert 0.4 < max(rates) <= 1
    assert rates[0] < 0.1
    assert rates[-1] < 0.01


def test_the_rate_is_halved_at_milestones() -> None:
    s = Settings(steps=100, schedule="steps", milestones=(50, 75, 90), warm_up=0)
    assert [rate_at(step, s) for step in (0, 49, 50, 74, 75, 90, 99)] == [1, 1, 0.5, 0.5, 0.25, 0.125, 0.125]


def test_the_average_follows_slowly() -> None:
    average, moving = material.network(), material.network()
    with torch.no_grad():
        for weight in moving.parameters():
            weight.add_(1.0)
    before = [weight.clone() for weight in average.parameters()]
    follow(average, moving, 0.9)
    for weight, old in zip(average.parameters(), before, strict=True):
        torch.testing.assert_close(weight, old + 0.1)


def test_learning_lowers_the_loss_on_one_batch() -> None:
    torch.manual_seed(2)
    student = MimoUNet(16, 1, "half")
    sharp = torch.rand(2, 3, 32, 32)
    blurred = torch.nn.functional.avg_pool2d(sharp, (1, 5), 1, (0, 2))
    optimizers = make_optimizers(student, Settings(optimizer="muon", rate=3e-3))
    losses = []
    for _ in range(25):
        value = loss.mimo_loss(student.scales(blurred), student.pyramid(sharp))
        value.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(float(value.detach()))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("shape", [(16, 144), (64, 16)])
def test_muon_updates_are_nearly_orthogonal(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(matrices))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_exported_weights_are_half_precision_with_facts(tmp_path: Path) -> None:
    from safetensors import safe_open

    path = tmp_path / "small.safetensors"
    checkpoint.export(path, material.network().state_dict(), {"family": "mimo-unet"})
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"family": "mimo-unet"}
        assert set(file.keys()) == set(material.network().state_dict())
        assert file.get_tensor("feat_extract.0.main.0.weight").dtype == torch.float16


def test_a_full_disk_while_saving_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"step": 1})

    def crash(state: object, target: Path) -> None:
        target.write_bytes(b"half a file")
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598")

    monkeypatch.setattr(torch, "save", crash)
    with pytest.raises(
        VdeblurError, match=r"last\.pt: cannot be written \(.*\); is the disk full\? What was saved"
    ):
        checkpoint.save(path, {"step": 2})
    assert checkpoint.load(path) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]
