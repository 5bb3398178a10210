"""Imports go down only: the floors of the house, read from the imports themselves."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "vdeblur"
FLOOR = {
    "cli": 5,
    "measure": 4,
    "jobs": 3,
    "learn": 3,
    "engine": 2,
    "data": 2,
    "video": 1,
    "models": 1,
    "weights": 1,
    "errors": 0,
    "frame": 0,
    "colour": 0,
    "ledger": 0,
    "lock": 0,
    "metrics": 0,
}
# Rooms of one floor that may look at each other, and pairs that may not although the floors allow it.
NEIGHBOURS = {
    ("weights", "models"),
    ("ledger", "frame"),
    ("colour", "frame"),
    ("colour", "errors"),
    ("metrics", "errors"),
    ("lock", "errors"),
}
FORBIDDEN = {("engine", "video"), ("data", "engine"), ("models", "video"), ("weights", "video")}
LIBRARIES = {  # who may import a heavy library at all
    "rich": {"cli"},
    "av": {"video", "data", "measure", "jobs"},
    "torch": {"models", "weights", "engine", "learn", "data", "measure"},
}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether only for type checking) of every import statement in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, id(node) in typing_only
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            for name in node.names:
                yield f"{node.module}.{name.name}", id(node) in typing_only


def room(module: str) -> str:
    return module.split(".")[1]


def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in FLOOR)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module, _typing_only in imports(path):
        if not module.startswith("vdeblur.") or room(module) not in FLOOR:
            continue
        other = room(module)
        if other == own:
            continue
        assert (own, other) not in FORBIDDEN, f"{own} never imports {other}"
        assert FLOOR[other] < FLOOR[own] or (own, other) in NEIGHBOURS, (
            f"{own} may not import {other} ({module})"
        )


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_stay_in_their_rooms(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module, typing_only in imports(path):
        library = module.split(".")[0]
        if library in LIBRARIES and not typing_only:
            assert own in LIBRARIES[library], f"{own} may not import {library}"


def test_what_is_imported_is_asked_for_and_has_its_reason() -> None:
    """Not left to what another package brings; docs/dependencies.md has a word on each."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *(text for extra in extras for text in extra)]
    names = {re.split("[<>=]", text)[0] for text in asked}
    called = {"PIL": "pillow", "cv2": "opencv-python", "ffmpeg": "ffmpeg-python", "skimage": "scikit-image"}
    imported = {module.split(".")[0] for path in files() for module, _ in imports(path)}
    libraries = {called.get(top, top) for top in imported - sys.stdlib_module_names} - {"vdeblur"}
    assert libraries - names == {"triton"}  # comes with torch
    reasons = (PACKAGE.parent / "docs/dependencies.md").read_text(encoding="utf-8")
    assert [name for name in names if name not in reasons] == []


def test_every_room_has_a_floor() -> None:
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if not path.name.startswith("_")}
    assert rooms - {"py.typed"} == set(FLOOR)
