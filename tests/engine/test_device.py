"""Devices, precisions and backends: given as asked, or refused in one line that names the option."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vdeblur.engine import device, gpus
from vdeblur.engine.budget import free_bytes
from vdeblur.engine.device import check_choice, choose, cpu_threads, guess_kind
from vdeblur.errors import InputError, MissingRuntimeError


@pytest.mark.parametrize(
    ("asked", "option"),
    [
        (("gpu", "auto", "auto"), "--device gpu"),
        (("cuda:x", "auto", "auto"), "--device cuda:x"),
        (("cpu", "fp8", "auto"), "--precision fp8"),
        (("cpu", "auto", "tensorrt"), "--backend tensorrt"),
        (("cpu", "fp16", "auto"), "--precision fp16"),
        (("cpu", "auto", "cuda"), "--backend cuda"),
    ],
)
def test_what_can_never_work_is_refused(asked: tuple[str, str, str], option: str) -> None:
    with pytest.raises(InputError, match=f"^{option}") as caught:
        check_choice(*asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("asked", [("cuda", "auto"), ("cuda:1", "auto"), ("auto", "cuda")])
def test_a_gpu_that_is_not_there_is_refused_with_the_reason(
    asked: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "why_no_cuda", lambda: "there is no NVIDIA driver on this machine")
    with pytest.raises(MissingRuntimeError, match="no NVIDIA driver") as caught:
        check_choice(asked[0], "auto", asked[1])
    assert "use --device cpu" in str(caught.value)
    assert guess_kind("auto") != "cuda"


@pytest.mark.parametrize("backend", ["auto", "torch", "openvino"])
def test_half_precision_is_refused_where_auto_is_the_processor(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "why_no_cuda", lambda: "there is no NVIDIA driver on this machine")
    monkeypatch.setattr(gpus, "has_mps", lambda: False)
    monkeypatch.setattr(device, "has_openvino", lambda: True)
    with pytest.raises(InputError, match="--precision fp16: slow and coarse on a CPU"):
        check_choice("auto", "fp16", backend)
    monkeypatch.setattr(gpus, "has_mps", lambda: True)
    if backend != "openvino":  # which runs on the processor whatever there is
        check_choice("auto", "fp16", backend)


def test_the_reason_is_found_without_torch() -> None:
    """Plans, errors about devices and the engine's door come before torch is imported."""
    code = (
        "import sys; from vdeblur.engine import budget as b, device as d, deblurrer\n"
        "print(d.guess_kind('auto'), d.cpu_threads(), b.free_bytes(), d.cpu_features())\n"
        "sys.exit('torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_guess_agrees_with_torch() -> None:
    assert (guess_kind("auto") == "cuda") == torch.cuda.is_available()


def test_a_gpu_that_is_full_leaves_the_cpu_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*size: int, device: str) -> torch.Tensor:
        raise RuntimeError(f"CUDA error: out of memory on {device}\nCompile with ...")

    monkeypatch.setattr(gpus, "why_no_cuda", lambda: None)
    a_gpu_is_there(monkeypatch)
    monkeypatch.setattr(torch, "zeros", full)
    chosen = choose("auto", "auto", "auto")
    assert chosen.kind == "cpu"
    assert "does not open (CUDA error: out of memory on cuda:0)" in chosen.notes[0]
    with pytest.raises(InputError, match="--precision fp16"):
        choose("auto", "fp16", "auto")
    with pytest.raises(MissingRuntimeError, match=r"^--device cuda:1: .*; use --device cpu$"):
        choose("cuda:1", "auto", "auto")


@pytest.mark.parametrize(
    ("capability", "built_for", "runs"),
    [
        ((9, 0), ["sm_80", "sm_90"], True),
        ((8, 6), ["sm_80"], True),
        ((8, 0), ["sm_86"], False),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((12, 0), ["sm_90"], False),
        ((6, 1), ["sm_75", "sm_80", "compute_80"], False),
        ((10, 0), ["sm_100a"], True),
    ],
)
def test_kernels_run_on_the_same_major_and_upwards_from_ptx(
    capability: tuple[int, int], built_for: list[str], runs: bool
) -> None:
    assert gpus.has_kernels(capability, built_for) is runs


@pytest.mark.parametrize(
    ("features", "precision"), [({"avx512_bf16"}, "bf16"), ({"amx_bf16"}, "bf16"), ({"avx2"}, "fp32")]
)
def test_bfloat16_is_the_default_only_where_the_processor_has_it(
    features: set[str], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "cpu_features", lambda: frozenset(features))
    chosen = choose("cpu", "auto", "auto")
    assert (chosen.device, chosen.kind, chosen.precision, chosen.backend) == (
        "cpu",
        "cpu",
        precision,
        "torch",
    )
    assert chosen.notes == ()
    asked = choose("cpu", "bf16", "auto")
    assert asked.precision == "bf16"
    assert bool(asked.notes) is (precision == "fp32")


def test_threads_and_memory_are_what_this_process_may_use() -> None:
    assert 1 <= cpu_threads() <= 1024
    assert 64 << 20 < free_bytes("cpu") < 1 << 50


@pytest.mark.cuda
def test_a_gpu_is_used_in_half_precision() -> None:
    chosen = choose("auto", "auto", "auto")
    assert (chosen.kind, chosen.precision) == ("cuda", "fp16")
    assert choose("cuda", "auto", "auto", half_is_safe=False).precision == "fp32"
    assert free_bytes(chosen.device) > 0
    with pytest.raises(InputError, match="counted from 0"):
        choose(f"cuda:{torch.cuda.device_count()}", "auto", "auto")


@pytest.mark.parametrize(("capability", "precision"), [((6, 1), "fp32"), ((7, 0), "fp16"), ((9, 0), "fp16")])
def test_half_precision_is_the_default_only_where_it_is_fast(
    capability: tuple[int, int], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "why_no_cuda", lambda: None)
    monkeypatch.setattr(gpus, "cuda_devices", lambda asked: (["cuda:0", "cuda:1"], "a GPU"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda place: capability)
    chosen = choose("cuda", "auto", "auto")
    assert (chosen.precision, chosen.backend, chosen.others) == (precision, "cuda", ("cuda:1",))
    assert choose("cuda", "fp16", "torch").precision == "fp16"


@pytest.mark.parametrize(
    ("asked", "given"),
    [("cuda", ["cuda:0", "cuda:2"]), ("auto", ["cuda:0", "cuda:2"]), ("cuda:1", ["cuda:1"])],
)
def test_gpus_of_one_make_share_the_work_unless_one_is_named(
    asked: str, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_gpu_is_there(monkeypatch)
    monkeypatch.setattr(gpus, "_why_closed", lambda index: None)
    assert gpus.cuda_devices(asked)[0] == given


def a_gpu_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda place: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_90"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda n: ["big", "small", "big"][n])
