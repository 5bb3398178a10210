"""Units that never speak are found, and get weights with which they learn; the results stay the same."""

from __future__ import annotations

import pytest
import torch

from vdeblur.learn.silence import revive, silent
from vdeblur.models.mimo_unet import MimoUNet


def pictures() -> list[torch.Tensor]:
    return list(torch.rand(3, 1, 3, 32, 48, generator=torch.Generator().manual_seed(1)))


def with_silence(*layers: str) -> MimoUNet:
    """A network whose named layers cannot rise above zero."""
    torch.manual_seed(4)
    network = MimoUNet(8, 2, "half").requires_grad_(False)
    for layer in layers:
        network.get_parameter(f"{layer}.main.0.bias").fill_(-100.0)
    return network


BLOCKS = ("Encoder.2.layers.0.main.0", "Encoder.2.layers.1.main.0", "Decoder.1.layers.0.main.0")
OTHERS = ("AFFs.1.conv.0", "SCM2.main.3", "feat_extract.4")


def test_silent_units_are_found_layer_by_layer() -> None:
    network = with_silence(*BLOCKS)
    before = silent(network, pictures())["SCM1.main.2"]
    assert not before[3]
    network.get_parameter("SCM1.main.2.main.0.bias")[3] = -100.0
    found = silent(network, pictures())
    for layer in BLOCKS:
        assert found[layer].all()
    assert (found["SCM1.main.2"] ^ before).nonzero().flatten().tolist() == [3]
    assert not found["Encoder.0.layers.0.main.0"].all()


@pytest.mark.parametrize("layers", [BLOCKS, OTHERS, (*BLOCKS, *OTHERS)])
def test_revived_units_speak_and_change_nothing(layers: tuple[str, ...]) -> None:
    network = with_silence(*layers)
    before = [network.scales(picture) for picture in pictures()]
    assert revive(network, pictures()) >= sum(len(silent(network, pictures())[layer]) for layer in layers)
    assert not any(units.any() for units in silent(network, pictures()).values())
    for ours, theirs in zip(before, (network.scales(picture) for picture in pictures()), strict=True):
        for scale, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(scale, other, atol=1e-5, rtol=1e-4)


def test_what_reads_a_revived_unit_has_a_gradient_again() -> None:
    network = with_silence(BLOCKS[0]).requires_grad_(True)
    reader = network.get_parameter("Encoder.2.layers.0.main.1.main.0.weight")

    def gradient() -> torch.Tensor:
        network.zero_grad()
        network(pictures()[0]).square().mean().backward()
        assert reader.grad is not None
        return reader.grad.abs().sum()

    assert gradient() == 0
    revive(network, pictures())
    assert gradient() > 0
