"""All networks, precisions and sizes, one `vdeblur bench` after the other, beside what others have published.

Each is a process of its own, with memory of its own; what fails is a line that says why, beside what it had
measured, and Ctrl-C keeps what is there.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vdeblur.engine.device import cpu_features, guess_kind
from vdeblur.measure import report
from vdeblur.measure.bench_report import rate
from vdeblur.measure.bench_rows import FORM
from vdeblur.measure.benchmark import Asked, Tell
from vdeblur.weights.catalogue import PACKAGE_NAMES

END_S = 20.0
"""For a benchmark that is to end; after that it is killed."""
SIZES = ((360, 640), (720, 1280), (1080, 1920))


@dataclass(frozen=True, slots=True)
class Published:
    """A figure that somebody else has published: the network alone, unless `note` says otherwise."""

    model: str
    precision: str
    fps: float
    gpu: str
    source: str
    note: str = ""
    size: tuple[int, int] = (720, 1280)


def _mimo(model: str, synchronised_s: float, not_s: float) -> Published:
    note = f"{synchronised_s:.3f} s synchronised, {not_s:.3f} s not"
    return Published(model, "fp32", 1 / synchronised_s, "RTX 3090", "MIMO-UNet, README", note)


PUBLISHED = (
    Published("deepdeblur", "fp16", 3.03, "RTX 2080 Ti", "DeepDeblur-PyTorch, README"),
    Published("deepdeblur", "fp32", 1.06, "RTX 2080 Ti", "DeepDeblur-PyTorch, README"),
    _mimo("mimo-unet", 0.130, 0.012),
    _mimo("mimo-unet-plus", 0.282, 0.025),
    _mimo("mimo-unet-plus-plus", 1.115, 0.049),
    Published(
        "(another network)",
        "fp16",
        63.0,
        "RTX 5090",
        "reported elsewhere",
        "a whole chain of comparable arithmetic in TensorRT, without encoding",
    ),
)


def combinations(asked: Asked, models: Sequence[str]) -> Iterator[Asked]:
    """Small and fast ones first, so that an interrupted sweep has most of the table."""
    for size in (asked.size,) if asked.size else SIZES:
        for model in models:
            for precision in _precisions(asked):
                yield dataclasses.replace(asked, model=model, precision=precision, size=size)


def sweep(asked: Asked, target: Path | None, tell: Tell = lambda what: None) -> Iterator[dict[str, Any]]:
    """The plain values of one benchmark after the other, or {"asked": ..., "error": why}.

    After each of them `target` is written anew with all there are. Weights given by the user are the only
    network then.
    """
    done: list[dict[str, Any]] = []
    models = ("auto",) if asked.weights else PACKAGE_NAMES if asked.model == "auto" else (asked.model,)
    with TemporaryDirectory(prefix="vdeblur-sweep-") as name:
        for each in combinations(asked, models):
            assert each.size is not None
            tell(f"{each.model}, {each.precision}, {each.size[1]}x{each.size[0]}")
            done.append(_one(each, Path(name) / "one.json"))
            if target is not None:
                found = json.dumps({"form": FORM, "sweep": done}, indent=1) + "\n"
                report.write(target, found, "--json")
            yield done[-1]


def table(rows: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Ours by size, and the published figures for it below."""
    head = (
        "network",
        "precision",
        "size",
        "on",
        "network fps",
        "file to file",
        "of the peak",
        "parity dB",
        "",
    )
    lines: list[tuple[str, ...]] = [head]
    for size in dict.fromkeys(_size_of(row) for row in rows):
        lines += [_line(row) for row in rows if _size_of(row) == size]
        lines += [_published(p) for p in PUBLISHED if f"{p.size[1]}x{p.size[0]}" == size]
    return lines


def _precisions(asked: Asked) -> tuple[str, ...]:
    if asked.precision != "auto":
        return (asked.precision,)
    if guess_kind(asked.device) == "cuda":
        return "fp16", "fp32"
    fast = ("bf16",) if cpu_features() & {"avx512_bf16", "amx_bf16"} else ()
    return "int8", *fast, "fp32"


def _one(asked: Asked, target: Path) -> dict[str, Any]:
    height, width = asked.size or (0, 0)
    words = [*asked.words(), "--size", f"{width}x{height}", "--json", str(target)]
    words += [] if asked.frames is None else ["--frames", str(asked.frames)]
    said, code = _run([sys.executable, "-m", "vdeblur", "bench", *words])
    why = (said.strip().splitlines() or [f"exit code {code}"])[-1].removeprefix("vdeblur: ")
    if target.exists():
        found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
        target.unlink()
        # Of one that failed, what it had measured before.
        return found if code == 0 else found | {"warnings": [why, *found["warnings"]]}
    return {"form": FORM, "asked": asked.values(), "error": why}


def _run(command: Sequence[str]) -> tuple[str, int]:
    """What a command said to stderr, and its exit code.

    It is asked to end where we are told to, and clears up: in a group of its own, or Ctrl-C would reach it
    as well and disturb it in that.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0
    )
    try:
        _, said = process.communicate()
    except BaseException:
        process.terminate()
        try:
            process.wait(END_S)
        finally:
            process.kill()
        raise
    return said, process.returncode


def _size_of(row: dict[str, Any]) -> str:
    height, width = row["asked"]["size"]
    return f"{width}x{height}"


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    asked = row["asked"]
    if "error" in row:
        return asked["model"], asked["precision"], _size_of(row), "", "-", "-", "", "", row["error"]
    network, whole, parity = row["network"], row["whole"], row["parity"]["psnr_db"]
    share = network["work"] and network["work"]["share"]
    return (
        asked["model"] + (" (untrained)" if row["engine"]["untrained"] else ""),
        row["engine"]["precision"],
        _size_of(row),
        row["engine"]["device_name"],
        rate(network["fps"]),
        rate(whole["steady_fps"]) if whole else "-",
        f"{share:.0%}" if share else "-",
        "same" if parity is None else f"{parity:.1f}",
        "; ".join(row["warnings"][:1]),
    )


def _published(p: Published) -> tuple[str, ...]:
    note = ", ".join(part for part in ("published", p.source, p.note) if part)
    return p.model, p.precision, f"{p.size[1]}x{p.size[0]}", p.gpu, f"{p.fps:.3g}", "-", "-", "-", note
