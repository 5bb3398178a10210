"""The clip that most tests of live pictures play."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobs.live.playing import SMALL
from video import media


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.write_clip(tmp_path_factory.mktemp("live") / "clip.mp4", frames=60, **SMALL).path
