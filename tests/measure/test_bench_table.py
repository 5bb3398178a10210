"""The tables of speed in README.md and docs/benchmarks.md are those of the files that were measured."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TABLES = (("README.md", "table"), ("docs/benchmarks.md", "cpu"))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_table", ROOT / "scripts/bench_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("file", "mark"), TABLES)
def test_a_table_is_what_the_script_makes_of_the_measured_files(
    file: str, mark: str, script: ModuleType
) -> None:
    measured = sorted((ROOT / "docs/bench").glob("cpu-*.json"))
    made = script.table(measured) if measured else ""  # nothing measured: nothing claimed
    text = (ROOT / file).read_text(encoding="utf-8")
    assert script.replaced(text, mark, made) == text


def test_a_row_for_each_benchmark_and_none_for_what_failed(script: ModuleType, tmp_path: Path) -> None:
    found = {
        "engine": {
            "model": "mimo-unet-tiny",
            "untrained": False,
            "precision": "int8",
            "backend": "openvino",
            "device_name": "a CPU",
            "threads": 2,
        },
        "width": 640,
        "height": 360,
        "network": {"fps": 41.234, "work": {"share": 0.756}},
        "whole": {"steady_fps": 30.06, "memory_mib": 274.6},
        "parity": {"psnr_db": None},
        "memory_on_device_mib": None,
    }
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps({"sweep": [found, {"error": "no such thing"}]}), encoding="utf-8")
    _, _, row = script.table([path]).splitlines()
    cells = "`mimo-unet-tiny` | 640x360 | int8, openvino | a CPU, 2 cores | 41.2 | **30.1** | 76% | 275"
    assert row == f"| {cells} | identical |"


def test_a_file_without_marks_is_left_alone(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="no line <!-- bench gpu -->"):
        script.replaced("nothing here\n", "gpu", "| table |\n")
