"""Networks in int8: where their graphs lie, and whose each is.  Finding one needs no OpenVINO.

A graph is one file, a zip of an OpenVINO model (`body.xml`, `body.bin`: the network's body, of any height and
width) and `facts.json`.  The package brings graphs beside its own weights; those made later lie in the user's
cache folder.  A graph of other weights, or of another version of these bodies, is never used.
"""

from __future__ import annotations

import errno
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from vdeblur.errors import InputError
from vdeblur.weights import places
from vdeblur.weights.containers import sha256

VERSION = 1
"""Of the bodies (`engine/openvino_body.py`) and of the way they are quantised; raised when either changes."""
SUFFIX = ".int8.zip"
LEAST_GAIN_KEPT = 0.95
"""Below it int8 is not the default."""
_STAMP = (1980, 1, 1, 0, 0, 0)  # the same graph gives the same file


@dataclass(frozen=True, slots=True)
class Facts:
    """What a graph says about itself.

    weights_sha256   of the weights file that it was made from
    gain_kept        gain of PSNR in int8 as a share of that in float32, on synthesised pairs set apart
    pairs            how many those were
    made_with        the versions of what made it
    """

    weights_sha256: str
    ensemble: bool
    version: int
    gain_kept: float
    pairs: int
    made_with: str


@dataclass(frozen=True, slots=True)
class Quantised:
    """A graph that is here and belongs to the weights that were asked for."""

    path: Path
    facts: Facts

    def read(self) -> tuple[bytes, bytes]:
        """The model's two parts, as `openvino.Core.read_model` takes them."""
        with zipfile.ZipFile(self.path) as archive:
            return archive.read("body.xml"), archive.read("body.bin")


def find(weights: Path, *, ensemble: bool = False) -> tuple[Quantised | None, str]:
    """The graph of a weights file, and one line about one that is there but cannot be used (else "")."""
    checksum = sha256(weights)
    reason = ""
    beside = weights.with_name(f"{weights.stem}{'-rotations' if ensemble else ''}{SUFFIX}")
    for path in (beside, cached(checksum, ensemble)):
        if not os.path.isfile(path):  # a folder of another user's counts as empty
            continue
        facts = _facts(path)
        if facts is None:
            reason = f"{path.name}: damaged, or of another version of vdeblur; not used"
        elif (facts.weights_sha256, facts.ensemble) != (checksum, ensemble):
            reason = f"{path.name}: made for other weights than {weights.name}; not used"
        else:
            return Quantised(path, facts), ""
    return None, reason


def cached(checksum: str, ensemble: bool) -> Path:
    """Where a graph made on this machine lies."""
    rotations = "-rotations" if ensemble else ""
    return places.cache_folder() / "int8" / f"{checksum[:32]}{rotations}-v{VERSION}{SUFFIX}"


def make_folder(path: Path) -> None:
    """The folder of a graph, before it is made; InputError where there can be none or it takes no file."""
    with _in_words(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def write(path: Path, facts: Facts, xml: bytes, weights: bytes) -> Quantised:
    """Write a graph beside its place and rename it there; InputError where the folder cannot take it."""
    make_folder(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    parts = {
        "facts.json": json.dumps(asdict(facts), indent=1).encode(),
        "body.xml": xml,
        "body.bin": weights,
    }
    try:
        with _in_words(path):
            with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
                for name, data in parts.items():
                    archive.writestr(zipfile.ZipInfo(name, _STAMP), data, zipfile.ZIP_DEFLATED)
            os.replace(beside, path)
    finally:
        with suppress(OSError):
            beside.unlink()
    return Quantised(path, facts)


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot be written ({error.strerror}); VDEBLUR_CACHE names another folder"
        ) from None


def _facts(path: Path) -> Facts | None:
    """None for another version, and where anything in the file is damaged: all of it is read for that."""
    try:
        with zipfile.ZipFile(path) as archive:
            facts = Facts(**json.loads(archive.read("facts.json")))
            whole = archive.testzip() is None and {"body.xml", "body.bin"} <= set(archive.namelist())
    except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError):
        return None
    return facts if whole and facts.version == VERSION else None
