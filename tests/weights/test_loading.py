"""Every published layout becomes the right network; whatever does not fit exactly is refused in one line."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from weights.files import mimo_state, msresnet_state, write_safetensors, write_torch

from vdeblur.errors import InputError, VdeblurError
from vdeblur.learn import checkpoint
from vdeblur.models.mimo_unet import MimoUNet, RotationEnsemble
from vdeblur.models.msresnet import MSResNet
from vdeblur.weights.architecture import Architecture
from vdeblur.weights.loading import load_network

TINY = Architecture("mimo-unet", 4, 1)


def assert_same(network: torch.nn.Module, state: dict[str, Tensor]) -> None:
    loaded = network.state_dict()
    assert list(loaded) == list(state)
    for key, value in state.items():
        assert torch.equal(loaded[key], value.float()), key


def refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(InputError) as caught:
        load_network(path, **settings)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"model": s},
        lambda s: {"model": s, "optimizer": {"state": {}}, "scheduler": {}, "epoch": 3},
        lambda s: {"state_dict": s},
        lambda s: {"params": s},
        lambda s: {"params": {key: value * 2 for key, value in s.items()}, "params_ema": s},
        lambda s: {"network": {key: value * 2 for key, value in s.items()}, "average": s, "step": 7},
        lambda s: {"G": s, "D": {"conv_layers.0.weight": torch.zeros(4, 3, 5, 5)}},
        lambda s: s,
        lambda s: OrderedDict((f"module.{key}", value) for key, value in s.items()),
        lambda s: {"state_dict": {f"module.net.{key}": value for key, value in s.items()}},
    ],
    ids=[
        "model",
        "training",
        "state_dict",
        "params",
        "ema",
        "ours",
        "discriminator",
        "bare",
        "module",
        "nested",
    ],
)
def test_wrappers_are_taken_off(wrap: Any, legacy: bool, tmp_path: Path) -> None:
    state = mimo_state()
    loaded = load_network(write_torch(tmp_path / "w.pth", wrap(state), legacy=legacy))
    assert loaded.architecture == TINY
    assert_same(loaded.network, state)


def test_moving_average_is_preferred_and_said(tmp_path: Path) -> None:
    state = mimo_state()
    path = write_torch(tmp_path / "w.pth", {"params": mimo_state(seed=5), "params_ema": state})
    loaded = load_network(path)
    assert_same(loaded.network, state)
    assert loaded.notes == (f"{path}: 'params_ema' is used, not 'params'",)


def test_our_own_training_checkpoint(tmp_path: Path) -> None:
    state = mimo_state(stem="half")
    whole = {"network": mimo_state(stem="half", seed=3), "average": state, "optimizers": [{}], "step": 1}
    checkpoint.save(tmp_path / "last.pt", whole)
    assert_same(load_network(tmp_path / "last.pt").network, state)


def test_half_precision_export_comes_back_as_float32(tmp_path: Path) -> None:
    state = mimo_state(stem="half")
    checkpoint.export(tmp_path / "w.safetensors", state, {"license": "Apache-2.0"})
    loaded = load_network(tmp_path / "w.safetensors")
    assert {value.dtype for value in loaded.network.state_dict().values()} == {torch.float32}
    assert_same(loaded.network, {key: value.half() for key, value in state.items()})
    assert loaded.metadata["license"] == "Apache-2.0"


@pytest.mark.parametrize(("channels", "blocks", "stem"), [(4, 0, "full"), (8, 3, "half"), (12, 2, "full")])
def test_sizes_of_mimo_unet_are_read_from_the_tensors(
    channels: int, blocks: int, stem: Any, tmp_path: Path
) -> None:
    path = write_safetensors(tmp_path / "w.safetensors", mimo_state(channels, blocks, stem))
    loaded = load_network(path)
    assert loaded.architecture == Architecture("mimo-unet", channels, blocks, stem)
    assert isinstance(loaded.network, MimoUNet)
    assert loaded.parameters == sum(value.numel() for value in loaded.network.parameters())


@pytest.mark.parametrize(("features", "blocks", "scales"), [(4, 0, 3), (8, 2, 4)])
def test_sizes_of_msresnet_are_read_from_the_tensors(
    features: int, blocks: int, scales: int, tmp_path: Path
) -> None:
    path = write_torch(tmp_path / "model-1000.pt", {"G": msresnet_state(features, blocks, scales)})
    loaded = load_network(path)
    assert loaded.architecture == Architecture("msresnet", features, blocks, scales=scales)
    assert isinstance(loaded.network, MSResNet)


def test_network_is_ready_to_run(tmp_path: Path) -> None:
    state = mimo_state()
    path = write_torch(tmp_path / "w.pkl", {"model": state})
    network = load_network(path).network
    with path.open("r+b") as file:  # nothing may still hang on the file, which was mapped
        file.write(bytes(path.stat().st_size))
    assert not network.training
    assert not any(value.requires_grad for value in network.parameters())
    assert_same(network, state)
    assert network(torch.rand(1, 3, 16, 16)).shape == (1, 3, 16, 16)


def test_ensemble_is_for_the_mimo_family(tmp_path: Path) -> None:
    mimo = write_torch(tmp_path / "m.pkl", {"model": mimo_state()})
    loaded = load_network(mimo, ensemble=True)
    assert isinstance(loaded.network, RotationEnsemble)
    assert not loaded.network.training
    other = write_torch(tmp_path / "d.pt", {"G": msresnet_state()})
    assert "msresnet has no rotation ensemble" in refusal(other, ensemble=True)


def test_missing_and_unexpected_keys_are_named_with_the_family(tmp_path: Path) -> None:
    state = mimo_state()
    del state["SCM2.conv.main.0.bias"]
    path = write_torch(tmp_path / "w.pkl", {"model": state})
    expected = "looks like mimo-unet (4 channels, 1 blocks, full stem), but SCM2.conv.main.0.bias is missing"
    assert expected in refusal(path)
    state |= {"SCM2.conv.main.0.bais": torch.zeros(8), "more.weight": torch.zeros(2)}
    text = refusal(write_torch(path, {"model": state}))
    assert "2 tensors are unexpected, first SCM2.conv.main.0.bais, more.weight" in text
    state = mimo_state() | {"Convs.1.main.0.weight": torch.zeros(4, 4, 1, 1)}
    text = refusal(write_torch(path, {"model": state}))
    assert "Convs.1.main.0.weight (4x4x1x1 instead of 4x8x1x1) is of another shape" in text


def test_other_networks_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    other = {"middle_blks.0.beta": torch.zeros(1), "intro.weight": torch.zeros(4, 3, 3, 3)}
    assert "it looks like NAFNet" in refusal(write_torch(path, {"params": other}))
    assert "its network is not known" in refusal(write_torch(path, {"layer.weight": torch.zeros(2)}))
    only_d = {"D": {"conv_layers.0.weight": torch.zeros(4, 3, 5, 5)}}
    assert "holds no weights, only 'D'" in refusal(write_torch(path, only_d))
    assert "holds no state dict but list" in refusal(write_torch(path, [torch.zeros(2)]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", ["pkl", "safetensors"])
def test_values_that_are_not_finite_are_refused(value: float, kind: str, tmp_path: Path) -> None:
    state = mimo_state()
    state["FAM1.merge.main.0.bias"][2] = value
    path = tmp_path / f"w.{kind}"
    write_safetensors(path, state) if kind == "safetensors" else write_torch(path, {"model": state})
    assert "FAM1.merge.main.0.bias holds values that are not numbers" in refusal(path)


def test_entries_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    key = "FAM1.merge.main.0.bias"
    assert "'epoch' is int" in refusal(write_torch(path, mimo_state() | {"epoch": 3}))
    integers = mimo_state() | {key: torch.zeros(16, dtype=torch.int8)}
    assert "torch.int8, not plain floating point" in refusal(write_torch(path, integers))
    sparse = mimo_state() | {key: torch.zeros(16).to_sparse()}
    assert "not plain floating point" in refusal(write_torch(path, sparse))
    empty = mimo_state() | {key: torch.zeros(16, device="meta")}
    assert "not plain floating point" in refusal(write_torch(path, empty))


def test_shapes_that_would_eat_the_memory_are_refused(tmp_path: Path) -> None:
    huge = torch.zeros(1).expand(200_000, 3, 3, 3)
    path = write_torch(tmp_path / "w.pth", mimo_state() | {"feat_extract.0.main.0.weight": huge})
    assert "200000x3x3x3" in refusal(path)
    path = write_torch(tmp_path / "w.pth", mimo_state() | {"x": torch.zeros(1).expand(1 << 31)})
    assert "no network known here is that large" in refusal(path)


class _Evil:
    def __reduce__(self) -> Any:
        return print, ("EXECUTED",)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_pickle_with_code_is_refused_and_runs_nothing(
    legacy: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_torch(tmp_path / "w.pkl", {"model": mimo_state(), "x": _Evil()}, legacy=legacy)
    assert "could be code; refused, nothing was run" in refusal(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
def test_files_cut_off_anywhere_are_refused(kind: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    if kind == "safetensors":
        write_safetensors(path, mimo_state())
    else:
        write_torch(path, {"model": mimo_state()}, legacy=kind == "legacy")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    text = refusal(path)
    assert "cut off or damaged" in text or "damaged safetensors" in text


def test_damaged_bytes_never_end_in_a_traceback(tmp_path: Path) -> None:
    """Bit rot at many places: either it still loads (a value changed) or it is refused."""
    rng = np.random.default_rng(0)
    for legacy in (False, True):
        path = write_torch(tmp_path / "w.pkl", {"model": mimo_state(blocks=0)}, legacy=legacy)
        whole = path.read_bytes()
        for at in rng.integers(0, min(len(whole), 20_000), 40):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
            with contextlib.suppress(VdeblurError):
                load_network(path)


def test_the_optimizer_of_a_checkpoint_is_not_kept(tmp_path: Path) -> None:
    """What lies beside the weights is let go, and so is the file's own copy of them."""
    ballast = {"state": [torch.zeros(4_000_000) for _ in range(4)]}
    path = write_torch(tmp_path / "w.pt", {"average": mimo_state(), "optimizers": ballast})
    before = _resident_bytes()
    loaded = load_network(path)
    grown = _resident_bytes() - before
    assert loaded.architecture == TINY
    assert grown < 40_000_000, f"{grown:,} bytes for a network of {loaded.parameters:,} parameters"


def _resident_bytes() -> int:
    """Memory of our own (not of mapped files); where the system does not say, nothing can be judged."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        pytest.skip("this system does not tell a process its memory")
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


# ---- the check files beside the project ---------------------------------------------------------

CONTAINERS = {
    "mimo_legacy.pkl": Architecture("mimo-unet", 8, 1),
    "mimo_zip.pkl": Architecture("mimo-unet", 8, 1),
    "mimo_training_legacy.pkl": Architecture("mimo-unet", 8, 0),
    "mimo_bare_module_prefix.pth": Architecture("mimo-unet", 8, 0),
    "mimo_params_ema.pth": Architecture("mimo-unet", 8, 0),
    "deepdeblur_model-1000.pt": Architecture("msresnet", 8, 2),
    "deepdeblur_legacy.pt": Architecture("msresnet", 8, 2),
    "deepdeblur_with_discriminator.pt": Architecture("msresnet", 4, 1),
}
REFUSED = {
    "refuse_reduce_legacy.pkl": "could be code",
    "refuse_reduce_zip.pt": "could be code",
    "refuse_reduce_plain.pkl": "refused unopened",
    "refuse_args.pt": "argparse.Namespace",
    "truncated.pt": "cut off",
}
SCALES = {"mimo": (0.8, 0.02), "deepdeblur": (0.7, 2.0)}


def fill_of(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fill", shared / "checkpoints" / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.shared
@pytest.mark.parametrize("name", CONTAINERS)
def test_check_containers_load(name: str, shared: Path) -> None:
    loaded = load_network(shared / "checkpoints" / "containers" / name)
    assert loaded.architecture == CONTAINERS[name]
    if name == "mimo_training_legacy.pkl":
        return  # its values are not from `fill`
    gain, bias = SCALES[name.split("_")[0]]
    state = loaded.network.state_dict()
    expected = fill_of(shared).fill(state, gain, bias)
    factor = 0.5 if "ema" in name else 1.0
    for key, value in expected.items():
        assert np.array_equal(state[key].numpy(), value * np.float32(factor)), key


@pytest.mark.shared
@pytest.mark.parametrize("name", REFUSED)
def test_check_containers_are_refused(name: str, shared: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert REFUSED[name] in refusal(shared / "checkpoints" / "containers" / name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.shared
def test_every_check_container_is_judged(shared: Path) -> None:
    files = {path.name for path in (shared / "checkpoints" / "containers").iterdir()}
    assert files == set(CONTAINERS) | set(REFUSED)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("check", "layout", "key", "legacy", "architecture"),
    [
        ("mimo-unet", "mimo-unet", "model", True, Architecture("mimo-unet", 32, 8)),
        ("mimo-unet-plus-plus", "mimo-unet-plus", "model", True, Architecture("mimo-unet", 32, 20)),
        ("deepdeblur-msresnet", "deepdeblur-msresnet", "G", False, Architecture("msresnet", 64, 19)),
    ],
)
def test_official_layouts_in_full_size_give_the_official_results(
    check: str, layout: str, key: str, legacy: bool, architecture: Architecture, shared: Path, tmp_path: Path
) -> None:
    """In the containers that the torch of their time wrote: 1.4 for MIMO-UNet, 1.6 for DeepDeblur."""
    fill, arrays = fill_of(shared), np.load(shared / "checkpoints" / f"{check}.npz")
    shapes = fill.layout(shared / "state_dicts" / f"{layout}.txt")
    filled = fill.fill(shapes, float(arrays["gain"]), float(arrays["bias"]))
    state = {name: torch.from_numpy(value) for name, value in filled.items()}
    path = write_torch(tmp_path / "official.pkl", {key: state}, legacy=legacy)
    loaded = load_network(path, ensemble=check.endswith("plus-plus"))
    assert loaded.architecture == architecture
    assert loaded.parameters == sum(value.numel() for value in state.values())

    scale = 255 if key == "G" else 1
    picture = arrays["image_64x64"].transpose(2, 0, 1)[None] if key == "G" else arrays["input_64x64"]
    with torch.inference_mode():
        result = loaded.network(torch.from_numpy(picture.astype(np.float32) / scale)).numpy() * scale
    reference = arrays["output_full_64x64"]
    error = np.abs(result - reference).max() / np.ptp(reference)
    # DeepDeblur's input pyramid is our own here, which may differ by 1e-3 of 255 from the file's.
    assert error <= (2e-5 if key == "G" else 1e-5), f"largest error {error:.2e} of the reference's range"


def test_facts_of_an_architecture_are_text() -> None:
    facts = Architecture("mimo-unet", 16, 4, "half").facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts == {"family": "mimo-unet", "channels": "16", "blocks": "4", "stem": "half"}
