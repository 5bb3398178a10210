"""The fast forms of the networks say what the networks say."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from engine import standins
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vdeblur.engine import ways
from vdeblur.engine.rewrite import UNIT, Conv, plain, rewritten
from vdeblur.models.contract import DeblurNetwork
from vdeblur.models.mimo_unet import MimoUNet, RotationEnsemble
from vdeblur.models.msresnet import MSResNet

NETWORKS: dict[str, Callable[[], DeblurNetwork]] = {
    "mimo-unet": lambda: MimoUNet(channels=8, blocks=2),
    "mimo-unet-plus (dropout)": lambda: MimoUNet(channels=8, blocks=1, dropout=0.1),
    "half stem": lambda: MimoUNet(channels=8, blocks=2, stem="half"),
    "channels that are no unit": lambda: MimoUNet(channels=12, blocks=1),
    "mimo-unet-plus-plus": lambda: RotationEnsemble(MimoUNet(channels=8, blocks=1)),
    "ensemble of half stems": lambda: RotationEnsemble(MimoUNet(channels=8, blocks=1, stem="half")),
    "msresnet": lambda: MSResNet(features=8, blocks=2),
    "msresnet, four scales": lambda: MSResNet(features=8, blocks=1, scales=4),
}


def trained_a_little(make: Callable[[], DeblurNetwork], seed: int = 0) -> DeblurNetwork:
    """Weights far from their start, so that no term of the arithmetic is zero or hidden in another."""
    torch.manual_seed(seed)
    network = make().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_the_fast_form_equals_the_network(name: str) -> None:
    network = trained_a_little(NETWORKS[name]).double()
    fast = rewritten(network)
    assert type(fast) is not type(network) or isinstance(fast, RotationEnsemble)
    sides = network.multiple_of * 6, network.multiple_of * 5
    for count in (1, 2):
        picture = torch.rand(count, 3, *sides, dtype=torch.float64)
        with torch.inference_mode():
            expected, found = network.correction(picture), fast.correction(picture)
        assert found.shape == expected.shape
        assert float(expected.square().mean().sqrt()) > 1e-3
        assert torch.allclose(found, expected, rtol=0, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("name", NETWORKS)
def test_half_weights_take_and_give_float32(name: str) -> None:
    network = trained_a_little(NETWORKS[name])
    fast = rewritten(network).half()
    picture = torch.rand(1, 3, network.multiple_of * 6, network.multiple_of * 5)
    with torch.inference_mode():
        expected, found = network.correction(picture), fast.correction(picture)
    assert found.dtype == torch.float32
    size = float(expected.square().mean().sqrt())
    assert float((found - expected).square().mean().sqrt()) < 0.02 * size


@pytest.mark.parametrize("name", NETWORKS)
def test_every_convolution_has_whole_units_of_channels(name: str) -> None:
    fast = rewritten(trained_a_little(NETWORKS[name]))
    convolutions = [module for module in fast.modules() if isinstance(module, Conv)]
    assert len(convolutions) > 10
    assert all(conv.weight.shape[dim] % UNIT == 0 for conv in convolutions for dim in (0, 1))
    assert not any(isinstance(module, torch.nn.Conv2d) for module in fast.modules())


def test_features_stay_channels_last() -> None:
    """One operation that loses the layout makes every convolution after it copy its input."""
    seen: list[bool] = []

    def watching(conv: Conv, x: torch.Tensor, plus: torch.Tensor | None) -> torch.Tensor:
        seen.append(x.is_contiguous(memory_format=torch.channels_last))
        seen.append(plus is None or plus.is_contiguous(memory_format=torch.channels_last))
        return plain(conv, x, plus)

    for name in ("mimo-unet", "half stem", "msresnet", "mimo-unet-plus-plus"):
        seen.clear()
        with torch.inference_mode():
            rewritten(trained_a_little(NETWORKS[name]), watching).correction(torch.rand(1, 3, 48, 40))
        assert len(seen) > 20
        assert all(seen), f"{name}: call {seen.index(False) // 2}"


@pytest.mark.parametrize("name", ["mimo-unet", "half stem", "msresnet"])
def test_what_is_not_a_number_inside_shows_in_the_result(name: str) -> None:
    """Also where a ReLU makes nothing of it, as fused ones may: the guard looks at the result only."""

    def hiding(conv: Conv, x: torch.Tensor, plus: torch.Tensor | None) -> torch.Tensor:
        linear = copy.copy(conv)
        linear.relu = False
        result = plain(linear, x, plus)
        return torch.where(result > 0, result, 0.0) if conv.relu else result

    fast = rewritten(trained_a_little(NETWORKS[name]), hiding)
    picture = torch.rand(1, 3, 48, 40)
    blocks = [block for block in fast.modules() if type(block).__name__ == "_Blocks"]
    assert len(blocks) >= 3
    for block in blocks:
        bias = block.seconds[0].bias  # type: ignore[union-attr, index]
        kept = bias.clone()
        bias[0] = float("inf")
        with torch.inference_mode():
            assert not fast.correction(picture).isfinite().all()
        bias.copy_(kept)
    with torch.inference_mode():
        assert fast.correction(picture).isfinite().all()


@pytest.mark.parametrize("name", ["mimo-unet", "half stem", "msresnet"])
def test_what_is_not_a_number_stays_in_its_picture(name: str) -> None:
    """Else one frame that overflows has its whole batch done again."""
    pictures = torch.rand(3, 3, 48, 40)
    pictures[1, 0, 20, 20] = torch.nan
    with torch.inference_mode():
        found = rewritten(trained_a_little(NETWORKS[name])).correction(pictures)
    assert [bool(one.isfinite().all()) for one in found] == [True, False, True]


def test_the_network_itself_is_left_alone() -> None:
    network = trained_a_little(NETWORKS["mimo-unet"])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    rewritten(network).half()
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_an_unknown_family_stays_as_it_is() -> None:
    network = standins.BoxFilter()
    assert rewritten(network) is network


@settings(max_examples=30, deadline=None)
@given(
    inputs=st.integers(1, 20),
    outputs=st.integers(1, 20),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
    relu=st.booleans(),
    added=st.booleans(),
)
def test_a_convolution_filled_up_with_zeros_is_the_same_one(
    inputs: int, outputs: int, kernel: int, stride: int, relu: bool, added: bool
) -> None:
    torch.manual_seed(inputs + 100 * outputs)
    conv = torch.nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2).double()
    fast = Conv.of(conv, plain, relu=relu)
    x = torch.randn(1, inputs, 12, 9, dtype=torch.float64)
    wide = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, -inputs % UNIT))
    with torch.inference_mode():
        expected = conv(x)
        plus = torch.randn_like(expected) if added else torch.zeros_like(expected)
        expected = expected + plus
        wide_plus = torch.nn.functional.pad(plus, (0, 0, 0, 0, 0, -outputs % UNIT)) if added else None
        found = fast(wide, wide_plus)
    assert torch.allclose(found[:, :outputs], expected.relu() if relu else expected, atol=1e-12)
    assert not found[:, outputs:].any()


@pytest.mark.parametrize(
    ("tried", "search_s", "searches"),
    [(10, 60.0, True), (10, -1.0, False), (0, -1.0, True), (None, 60.0, False)],
)
def test_kernels_are_searched_for_as_long_as_there_is_time(
    tried: int | None, search_s: float, searches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library may compile for minutes: the first frame does not wait for all of it."""
    seen: set[bool] = set()

    def watching(*parts: Any) -> Tensor:
        seen.add(torch.backends.cudnn.benchmark)
        return plain(*parts)

    monkeypatch.setattr(ways, "SEARCH_S", search_s)
    correct = ways._computing(MimoUNet(channels=8, blocks=1).eval(), tried, watching)
    before = torch.backends.cudnn.benchmark
    with torch.inference_mode():
        correct(torch.rand(1, 3, 16, 16))
    assert seen == {searches}
    assert torch.backends.cudnn.benchmark == before
