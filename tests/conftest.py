"""What all tests share: the folder of check files and real clips, and skips that can be forbidden."""

from __future__ import annotations

import os
from pathlib import Path

# As the command does: spinning threads cost a factor of ten on a busy machine. Before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import settings

# A machine with other work may be slow at any moment: that is no failure.
settings.register_profile("vdeblur", deadline=None)
settings.load_profile("vdeblur")

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`shared` tests are skipped without the folder, `cuda` ones without a device unless forbidden."""
    for item in items:
        if item.get_closest_marker("shared") and not (SHARED / "checkpoints").is_dir():
            item.add_marker(pytest.mark.skip(reason="the folder of check files is not beside the project"))
        if item.get_closest_marker("cuda") and not os.environ.get("VDEBLUR_REQUIRE_CUDA"):
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of check files, real clips and pairs; only for tests marked `shared`."""
    return SHARED


@pytest.fixture(autouse=True)
def _own_data_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or touches the user's weights."""
    monkeypatch.setenv("VDEBLUR_DATA", str(tmp_path_factory.mktemp("data")))
    monkeypatch.setenv("VDEBLUR_CACHE", str(tmp_path_factory.mktemp("cache")))
