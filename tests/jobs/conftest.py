"""A run that was stopped, and segments short enough for small clips."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobs.resuming import SHORT, stopped
from video import media

from vdeblur.jobs import deblur


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """For runs of the command."""
    whole = deblur.run
    monkeypatch.setattr(deblur, "run", lambda plan, tell, rule=SHORT: whole(plan, tell, rule))


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """A target whose run was stopped after frame 25 of 50; its source is `in.mp4`."""
    made = media.write_clip(tmp_path / "in.mp4", frames=50, size=(64, 48), audio=media._TWO_SOUNDS[:1])
    stopped(made.path, tmp_path / "out.mp4", 25, overwrite=True)
    return tmp_path / "out.mp4"
