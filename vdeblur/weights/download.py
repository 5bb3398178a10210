"""Fetch one file by http(s), with progress, going on where an earlier try broke off.

The unfinished file stays in the folder until it is whole. It is only continued where the server vouches, by
an ETag or a date, that it is still the same file.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

from vdeblur import __version__
from vdeblur.errors import InputError, VdeblurError
from vdeblur.weights.containers import LARGEST_BYTES

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here and the bytes of the whole file, where the server says how many."""

BLOCK_BYTES = 1 << 20
TIMEOUT_S = 30.0
_LATER = (408, 425, 429)  # timed out, too early, too many: of the 4xx those that are no fault of the address


def is_url(source: str) -> bool:
    return "://" in source


def download(url: str, folder: Path, progress: Progress | None = None) -> Path:
    """Fetch a file into `folder`; the result is the caller's to move or delete.

    Raises InputError for an address that can never work, VdeblurError where another try may.
    """
    address = _checked(url)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.part"
    try:
        _fetch(address, part, progress or (lambda done, total: None))
    except urllib.error.HTTPError as error:
        error.close()
        said = f"{url}: the server says {error.code} {error.reason}"
        if error.code >= 500 or error.code in _LATER:
            raise VdeblurError(f"{said}; try again later") from None
        raise InputError(f"{said}; check the address") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        if getattr(error, "filename", None) is not None:
            raise  # it is our folder's, not the network's
        raise _broken(url, part, error) from None
    _mark(part).unlink(missing_ok=True)
    return part


def _checked(url: str) -> str:
    """The address as it can be sent: blanks and letters of other alphabets in their web form."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InputError(f"{url}: not an address ({error})") from None
    if parts.scheme not in ("http", "https"):
        raise InputError(f"{url}: only http and https addresses can be fetched")
    if "@" in parts.netloc:
        raise InputError(f"{url}: an address with a login cannot be fetched; download the file and import it")
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]", errors="surrogateescape")


def _fetch(url: str, part: Path, progress: Progress) -> None:
    headers = {"User-Agent": f"vdeblur/{__version__}", "Accept": "application/octet-stream, */*"}
    have, mark = _size(part), _mark(part)
    if have and mark.exists():
        headers |= {"Range": f"bytes={have}-", "If-Range": mark.read_text(encoding="ascii")}
    with _opened(url, headers) as answer:
        if answer.headers.get_content_type() == "text/html":
            raise InputError(
                f"{url}: a web page, not a file; download the weights in a browser and import the file"
            )
        goes_on = answer.status == 206 and (answer.headers["Content-Range"] or "").startswith(
            f"bytes {have}-"
        )
        done = have if goes_on else 0
        length = answer.headers["Content-Length"]
        total = done + int(length) if length else None
        if (total or 0) > LARGEST_BYTES:
            raise InputError(f"{url}: {(total or 0) / 2**30:.0f} GiB, far too large for weights")
        validator = answer.headers["ETag"] or answer.headers["Last-Modified"] or ""
        mark.unlink(missing_ok=True)
        if not goes_on:
            part.unlink(missing_ok=True)
        with part.open("ab") as file:
            if validator and not validator.startswith("W/"):  # a weak tag does not promise the same bytes
                mark.write_text(validator, encoding="ascii")
            progress(done, total)
            while block := answer.read(BLOCK_BYTES):
                file.write(block)
                done += len(block)
                if done > LARGEST_BYTES:
                    raise InputError(f"{url}: does not end; that are no weights")
                progress(done, total)
    if total is not None and done != total:
        raise http.client.IncompleteRead(b"", total - done)
    if _size(part) != done:
        raise VdeblurError(f"{url}: fetched by another import at the same time; run the same command again")


def _opened(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """The answer; where the server rejects the range (416), that of a request for the whole."""
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416 or "Range" not in headers:
            raise
        error.close()
        whole = {key: value for key, value in headers.items() if key not in ("Range", "If-Range")}
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=whole), timeout=TIMEOUT_S)
    if not isinstance(answer, http.client.HTTPResponse):
        answer.close()
        raise InputError(f"{url}: leads away from the web; give the address of the file itself")
    return answer


def _broken(url: str, part: Path, error: Exception) -> VdeblurError:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return VdeblurError(f"{part}: the disk is full; make room and run the same command again")
    have = _size(part)
    if isinstance(error, http.client.IncompleteRead) or have:
        again = (
            "the same command goes on from there" if _mark(part).exists() else "run the same command again"
        )
        return VdeblurError(f"{url}: broke off after {have / 1e6:.1f} MB; {again}")
    reason = getattr(error, "reason", error)
    return VdeblurError(
        f"{url}: cannot be reached ({reason}); try again, or download it in a browser and import the file"
    )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _mark(part: Path) -> Path:
    """Beside an unfinished file: by what its server recognises it."""
    return part.with_suffix(".mark")
