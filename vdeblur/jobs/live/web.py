"""The live picture in a browser, for machines without a screen: a small page and one WebSocket.

Bound to this machine alone it answers requests for this machine's names only, so that somebody else's page
cannot reach it under a name of its own (DNS rebinding).  Bound elsewhere it wants a token.  The WebSocket is
for the page's own origin.  All runs on a thread of its own; showing a picture costs the loop nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, urlsplit

from vdeblur.errors import InputError, MissingRuntimeError, to_install
from vdeblur.jobs.live.view import Controls, View
from vdeblur.jobs.live.watcher import Newest, Watcher

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

HOST, PORT = "127.0.0.1", 8765
_PAGE = Path(__file__).parent / "page"
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src data:; script-src 'self'; style-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_LOGGER = logging.getLogger("vdeblur.live.web")
_LOGGER.addHandler(logging.NullHandler())  # who was refused is no news for the terminal
_LOGGER.propagate = False


def address(text: str) -> tuple[str, int]:
    """`8080`, `0.0.0.0:8080` or `[::1]:8080` -> host and port; raises ValueError."""
    host, colon, port = text.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() else 0
    if not 0 < number < 65536 or (colon and not host):
        raise ValueError(text)
    return (host.removeprefix("[").removesuffix("]") if colon else HOST), number


@dataclass(frozen=True, slots=True)
class Door:
    """Who may come in. `token` is None where only this machine can connect."""

    token: str | None

    def refusal(self, path: str, host: str, origin: str | None) -> tuple[HTTPStatus, str] | None:
        """Why a request is refused, from its path with query and its headers; None: it may come in."""
        place = _parts(path)
        if self.token is None and not _is_this_machine(_parts(f"//{host}").hostname or ""):
            return HTTPStatus.FORBIDDEN, f"this page is for http://{HOST} only, not for {host}\n"
        if self.token is not None and place.path in ("/", "/live"):
            given = parse_qs(place.query).get("token", [""])[0]
            if not secrets.compare_digest(given.encode(), self.token.encode()):
                return HTTPStatus.FORBIDDEN, "wrong token: open the address that vdeblur has printed\n"
        if place.path == "/live":
            if origin is not None and _parts(origin).netloc != host:
                return HTTPStatus.FORBIDDEN, f"not for pages of {origin}\n"
        elif place.path not in _FILES:
            return HTTPStatus.NOT_FOUND, "nothing here\n"
        return None


class Web:
    """A `Viewer` for any number of browsers; `url` is what to open. Port 0: any free one.

    Raises:
        MissingRuntimeError: the package websockets is not installed.
        InputError: the address cannot be used.
    """

    def __init__(self, controls: Controls, host: str = HOST, port: int = PORT) -> None:
        try:
            import websockets.asyncio.server  # noqa: F401
        except ImportError as error:
            raise MissingRuntimeError(
                f"--web needs the package websockets: {to_install('vdeblur[web]')}"
            ) from error
        self._controls = controls
        self._door = Door(None if _is_this_machine(host) else secrets.token_urlsafe(16))
        self._socket = _listen(host, port)
        self.url = _url(host, self._socket.getsockname()[1], self._door.token)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None  # while the thread runs
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), name="web", daemon=True)
        self._thread.start()
        self._ready.wait()

    def show(self, view: View) -> None:
        self._call(lambda: self._newest.put(view))

    def closed(self) -> bool:
        """Never: who watches comes and goes."""
        return False

    def close(self) -> None:
        self._call(lambda: self._over.set())
        self._thread.join()

    def _call(self, work: Callable[[], None]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # closed a moment ago
                self._loop.call_soon_threadsafe(work)

    async def _serve(self) -> None:
        from websockets.asyncio.server import serve

        self._newest, self._over = Newest(), asyncio.Event()
        try:
            async with serve(
                self._watch,
                sock=self._socket,
                process_request=self._answer,
                compression=None,  # JPEGs do not get smaller
                max_size=4096,  # of what comes in
                logger=_LOGGER,
                server_header=None,
                close_timeout=1,
            ):
                self._loop = asyncio.get_running_loop()
                self._ready.set()
                await self._over.wait()
        finally:
            self._loop = None
            self._ready.set()
            self._newest.close()

    async def _watch(self, browser: ServerConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        with suppress(ConnectionClosed):
            await Watcher(browser, self._newest, self._controls).watch()

    def _answer(self, browser: ServerConnection, request: Request) -> Response | None:
        """A file of the page, a refusal, or None: the WebSocket may be opened."""
        from websockets.datastructures import Headers
        from websockets.http11 import Response

        refusal = self._door.refusal(
            request.path, ", ".join(request.headers.get_all("Host")), request.headers.get("Origin")
        )
        if refusal is not None:
            return browser.respond(*refusal)
        place = urlsplit(request.path).path
        if place == "/live":
            return None
        name, kind = _FILES[place]
        body = (_PAGE / name).read_bytes()
        headers = Headers(
            {
                "Content-Type": kind,
                "Content-Length": str(len(body)),
                "Content-Security-Policy": _POLICY,
                "Referrer-Policy": "no-referrer",  # the token stands in the address
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-store",
                "Connection": "close",
            }
        )
        return Response(HTTPStatus.OK, "OK", headers, body)


def _parts(address: str) -> SplitResult:
    """Of what a stranger wrote; empty where it is no address."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"--web: {host} port {port} cannot be used ({reason}); name another") from error


def _url(host: str, port: int, token: str | None) -> str:
    try:
        everywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        everywhere = False
    name = socket.gethostname() if everywhere else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")
