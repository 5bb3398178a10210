"""What kind of file this is, judged by its first bytes and its table of contents.

No torch here, and nothing is ever unpickled: what cannot be weights is refused before anything heavy is
loaded.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vdeblur.errors import InputError

Container = Literal["safetensors", "torch zip", "torch legacy"]

WANTED = "give a .safetensors, .pt, .pth or .pkl file of MIMO-UNet or DeepDeblur"
LARGEST_BYTES = 4 << 30
"""No network here comes near it; more is a mistake or an attack on memory."""

_LEGACY_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")
"""The pickled number that opens files of torch before 1.6, after two bytes of protocol."""
_LARGEST_HEADER = 100_000_000
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", "a video"),
    (0, b"\x1a\x45\xdf\xa3", "a video"),
    (0, b"\x00\x00\x01\xba", "a video"),
    (8, b"AVI ", "a video"),
    (0, b"\x89PNG", "a picture"),
    (0, b"\xff\xd8\xff", "a picture"),
    (0, b"\x1f\x8b", "a compressed archive: unpack it first"),
    (0, b"7z\xbc\xaf", "a compressed archive: unpack it first"),
    (0, b"Rar!", "a compressed archive: unpack it first"),
    (257, b"ustar", "a tar archive: unpack it first"),
    (0, b"version https://git-lfs", "a Git LFS pointer: fetch the file itself with git lfs pull"),
    (0, b"\x80", "a Python pickle that torch did not write, refused unopened"),
)


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says about itself: free text pairs, and the shape of every tensor."""

    metadata: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.shapes.values())


def recognise_container(path: Path) -> Container:
    """Which of the known containers a file is.

    Raises InputError, in one line, for everything else: missing, empty, cut off, or another kind of file.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: a folder, not a weights file; {WANTED}")
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{path}: not a regular file; {WANTED}")
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such weights file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not head:
        raise InputError(f"{path}: an empty file, not weights; fetch it again")
    if size > LARGEST_BYTES:
        raise InputError(f"{path}: {size / 2**30:.0f} GiB, far too large for weights of a network known here")
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    if head[:1] == b"\x80" and _LEGACY_MAGIC in head[:32]:
        return "torch legacy"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LARGEST_HEADER:
        return "safetensors"
    raise InputError(f"{path}: {_guess(head)}; {WANTED}")


def read_header(path: Path) -> Header:
    """The header of a safetensors file, checked against the file's length.

    Raises InputError where the file is cut off or its header makes no sense.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(min(length, _LARGEST_HEADER))
            size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        fields = json.loads(text)
        metadata = {str(key): str(value) for key, value in fields.pop("__metadata__", {}).items()}
        shapes = {key: tuple(int(n) for n in field["shape"]) for key, field in fields.items()}
        end = max((int(field["data_offsets"][1]) for field in fields.values()), default=0)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError):
        raise InputError(
            f"{path}: a damaged safetensors file (its header makes no sense); fetch it again"
        ) from None
    if 8 + length + end != size:
        raise InputError(
            f"{path}: cut off or damaged ({size:,} bytes instead of {8 + length + end:,}); fetch it again"
        )
    return Header(metadata, shapes)


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _zip(path: Path) -> Container:
    """torch's zip container, told from other archives by its table of contents."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        raise InputError(f"{path}: cut off or damaged; fetch it again") from None
    names = [entry.filename for entry in entries]
    if any(name.count("/") == 1 and name.endswith("/constants.pkl") for name in names):
        raise InputError(f"{path}: a TorchScript program, not plain weights; {WANTED}")
    if not any(name.count("/") == 1 and name.endswith("/data.pkl") for name in names):
        inside = [name for name in names if name.endswith((".pt", ".pth", ".pkl", ".safetensors"))]
        models = sorted((name for name in inside if "/model-" in name), key=_epoch) or inside
        hint = f"unpack it and give {models[-1]}" if models else WANTED
        raise InputError(f"{path}: an archive, not a weights file; {hint}")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise InputError(f"{path}: weights packed again by another program; fetch the original file")
    if sum(entry.file_size for entry in entries) > LARGEST_BYTES:
        raise InputError(f"{path}: says it holds far more than a network known here; refused")
    return "torch zip"


def _epoch(name: str) -> int:
    """1000 of `GOPRO_L1/models/model-1000.pt`, so that the last one is offered."""
    digits = "".join(c for c in name.rpartition("/model-")[2] if c.isdigit())
    return int(digits or 0)


def _guess(head: bytes) -> str:
    """What else a file may be, in words."""
    for offset, signature, words in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return words
    if head[:1] == b"\x47" and head[188:189] == b"\x47":
        return "a video"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page, not a weights file: download the file itself in a browser"
    if b"\0" not in head and sum(c < 9 for c in head) == 0:
        return "a text file, not weights"
    return "not a weights file of any known kind"
