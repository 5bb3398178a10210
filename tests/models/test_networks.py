"""The contract of the networks, on small ones with random weights."""

from __future__ import annotations

import pytest
import torch

from vdeblur.models.contract import DeblurNetwork
from vdeblur.models.mimo_unet import MimoUNet, RotationEnsemble
from vdeblur.models.msresnet import MSResNet, gaussian_pyramid


def networks() -> list[DeblurNetwork]:
    torch.manual_seed(7)
    return [
        MimoUNet(8, 1),
        MimoUNet(8, 1, "half"),
        RotationEnsemble(MimoUNet(8, 1)),
        MSResNet(8, 1),
        MSResNet(4, 1, scales=4),
    ]


@pytest.mark.parametrize("network", networks(), ids=lambda n: f"{type(n).__name__}-{n.multiple_of}")
def test_results_have_the_sizes_of_the_targets(network: DeblurNetwork) -> None:
    rgb = torch.rand(2, 3, 5 * network.multiple_of, 7 * network.multiple_of)
    results, targets = network.scales(rgb), network.pyramid(rgb)
    assert [r.shape for r in results] == [t.shape for t in targets]
    assert results[0].shape == rgb.shape == network(rgb).shape


@pytest.mark.parametrize("network", networks(), ids=lambda n: f"{type(n).__name__}-{n.multiple_of}")
@torch.inference_mode()
def test_input_plus_correction_is_the_result(network: DeblurNetwork) -> None:
    rgb = torch.rand(1, 3, 32, 48)
    torch.testing.assert_close(rgb + network.correction(rgb), network(rgb), atol=1e-6, rtol=0)


def test_coarse_sizes_are_those_of_the_stem() -> None:
    rgb = torch.rand(1, 3, 32, 64)
    assert [tuple(s.shape[2:]) for s in MimoUNet(8, 1).scales(rgb)] == [(32, 64), (16, 32), (8, 16)]
    assert [tuple(s.shape[2:]) for s in MimoUNet(8, 1, "half").scales(rgb)] == [(32, 64), (8, 16), (4, 8)]


@torch.inference_mode()
def test_coarse_inputs_of_the_half_stem_are_every_fourth_and_eighth_pixel() -> None:
    network = MimoUNet(8, 1, "half")
    for head in network.ConvsOut:
        for weight in head.parameters():
            weight.zero_()
    rgb = torch.rand(1, 3, 32, 32)
    _, middle, coarse = network.scales(rgb)
    assert torch.equal(middle, rgb[..., ::4, ::4])
    assert torch.equal(coarse, rgb[..., ::8, ::8])


@pytest.mark.parametrize(
    "network",
    [MimoUNet(4, 1), MimoUNet(4, 2), MimoUNet(4, 1, "half"), MSResNet(2, 1)],
    ids=["full-1", "full-2", "half-1", "msresnet"],
)
def test_reach_is_the_farthest_pixel_that_matters(network: DeblurNetwork) -> None:
    """Measured with all-positive weights (nothing cancels) for every position within `multiple_of`."""
    for weight in network.parameters():
        torch.nn.init.constant_(weight, 0.05)
    network = network.double()
    m, reach = network.multiple_of, network.reach
    half = -(-(reach + m) // m) * m
    farthest = 0
    for offset in range(m):
        at = half + offset
        rgb = torch.rand(1, 3, m * (32 // m), 2 * half + m, dtype=torch.double, requires_grad=True)
        network(rgb)[0, 0, 0, at].backward()
        assert rgb.grad is not None
        columns = rgb.grad[0].abs().sum(dim=(0, 1)).nonzero()[:, 0]
        farthest = max(farthest, at - int(columns[0]), int(columns[-1]) - at)
    assert farthest <= reach <= farthest + 2 * m, f"measured {farthest} px, stated {reach} px"


def test_published_reaches() -> None:
    assert (MimoUNet().reach, MimoUNet(blocks=20).reach) == (241, 577)
    assert MSResNet().reach == 584


@torch.inference_mode()
def test_the_ensemble_turns_with_the_picture() -> None:
    torch.manual_seed(3)
    ensemble = RotationEnsemble(MimoUNet(8, 1))
    rgb = torch.rand(1, 3, 32, 48)
    turned = ensemble(rgb.rot90(1, (-2, -1))).rot90(-1, (-2, -1))
    torch.testing.assert_close(turned, ensemble(rgb), atol=1e-6, rtol=0)
    assert not torch.allclose(ensemble.network(rgb), ensemble(rgb), atol=1e-4)


def test_dropout_acts_in_training_only_and_has_no_keys() -> None:
    torch.manual_seed(5)
    network = MimoUNet(8, 1, dropout=0.5)
    assert network.state_dict().keys() == MimoUNet(8, 1).state_dict().keys()
    rgb = torch.rand(1, 3, 16, 16)
    network.train()
    assert not torch.equal(network(rgb), network(rgb))
    network.eval()
    assert torch.equal(network(rgb), network(rgb))


def test_every_weight_takes_part() -> None:
    network = MimoUNet(8, 1, "half")
    rgb = torch.rand(1, 3, 32, 32)
    torch.stack([s.square().mean() for s in network.scales(rgb)]).sum().backward()
    idle = [
        name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()
    ]
    assert not idle


def test_the_pyramid_keeps_flat_pictures_flat_up_to_its_borders() -> None:
    for level in gaussian_pyramid(torch.full((1, 3, 24, 40), 0.25), 3):
        torch.testing.assert_close(level, torch.full_like(level, 0.25), atol=1e-6, rtol=0)


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="'half'"):
        MimoUNet(stem="quarter")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 3"):
        MSResNet(scales=2)
