"""What the pages say works: commands exist, Python lines run, links and names of files lead somewhere."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
from video import media

from vdeblur.cli import main as cli
from vdeblur.cli.options import deblur_parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [page for folder in (".", "docs", "vdeblur/weights") for page in sorted((ROOT / folder).glob("*.md"))]


def commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_exist_and_their_options_are_known(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    program, rest = words[0], words[1:]
    if program.startswith("./"):
        assert (ROOT / program).is_file()
        assert (ROOT / program).stat().st_mode & 0o111
        if program != "./scripts/vdeblur":
            return
    else:
        assert program == "vdeblur"
    if rest[0] in cli._COMMANDS:
        with pytest.raises(SystemExit) as stop:
            cli._COMMANDS[rest[0]](["--help"])
        assert stop.value.code == 0
        assert "usage" in capsys.readouterr().out
    else:
        asked = deblur_parser().parse_args(rest)
        assert asked.input


def test_python_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    media.write_clip(tmp_path / "shaky.mp4")
    picture = np.zeros((48, 64, 3), np.uint8)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {"picture": picture}
    exec(compile(code, "README.md", "exec"), names)
    assert (tmp_path / "sharp.mp4").is_file()
    assert np.asarray(names["sharp"]).shape == picture.shape


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere_and_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), target
    for name in re.findall(r"[a-z0-9_-]+(?:/[a-z0-9_-]+)+\.(?:py|sh|md|toml)\b", text):
        assert (ROOT / name).exists() or (ROOT / "vdeblur" / name).exists(), name
    for room, module in re.findall(r"`(video|engine|jobs|learn|data|measure|weights)\.(\w+)", text):
        assert (ROOT / "vdeblur" / room / f"{module}.py").exists(), f"{room}.{module}"


def test_the_first_command_brings_what_makes_it_fast() -> None:
    """On a processor the networks run three times as fast with OpenVINO; nobody should have to know that."""
    script = (ROOT / "scripts/vdeblur").read_text(encoding="utf-8")
    extras = next(line for line in script.splitlines() if line.startswith('"$here/setup"')).split()[1:]
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    assert "openvino" in extras
    assert set(extras) <= set(known)
