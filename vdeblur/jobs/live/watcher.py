"""One browser that watches: gets the newest pictures at its own pace, and its wishes are heard.

At most `AHEAD` pictures are on the way to it; whatever comes meanwhile is skipped, so that a slow line shows
fewer pictures and not older ones.  The browser confirms what it has drawn, which tells how old the picture on
its screen is (the way back included, so never too little).
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from vdeblur.data.opencv import opencv
from vdeblur.errors import VdeblurError
from vdeblur.jobs.live.meter import Meter
from vdeblur.jobs.live.view import Controls, Picture, View

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

AHEAD = 2
QUALITY = 90  # libjpeg's scale; its error lies 16 dB below what the network changes in a blurred picture


class Newest:
    """Used by the thread of one event loop; the coding has a thread of its own."""

    def __init__(self) -> None:
        self.number = 0  # of the newest view, from 1
        self._view: View | None = None
        self._news = asyncio.Event()
        self._coder = ThreadPoolExecutor(1, "jpeg")
        self._coded: dict[int, tuple[Picture, asyncio.Future[bytes]]] = {}  # by the identity of the picture

    def put(self, view: View) -> None:
        self.number += 1
        self._view = view
        kept = (view.before, view.after)
        self._coded = {
            key: known for key, known in self._coded.items() if any(known[0] is one for one in kept)
        }
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def after(self, number: int) -> tuple[int, View]:
        """The newest view once there is one newer than `number`, with its own number."""
        while self.number <= number or self._view is None:
            await self._news.wait()
        return self.number, self._view

    async def jpeg(self, picture: Picture) -> bytes:
        """A picture of a view; raises VdeblurError where it cannot be coded."""
        if id(picture) not in self._coded:
            coding = asyncio.get_running_loop().run_in_executor(self._coder, _jpeg, picture)
            self._coded[id(picture)] = (picture, coding)
        return await asyncio.shield(self._coded[id(picture)][1])

    def close(self) -> None:
        self._coder.shutdown(cancel_futures=True)


class Watcher:
    """Used by the thread of one event loop. The messages are described in `page/page.js`."""

    def __init__(self, socket: ServerConnection, newest: Newest, controls: Controls) -> None:
        self._socket, self._newest = socket, newest
        self._controls = controls
        self._sides: tuple[str, ...] = ("before", "after")
        self._has: dict[str, Picture] = {}  # what the browser has of each side
        self._on_the_way: dict[int, float | None] = {}  # by number: capture time of pictures not seen before
        self._room = asyncio.Event()
        self._room.set()
        self._meter = Meter()

    async def watch(self) -> None:
        """Until the browser goes."""
        tasks = {asyncio.create_task(self._send()), asyncio.create_task(self._hear())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        for task in done:
            task.result()

    async def _send(self) -> None:
        number = 0
        while True:
            await self._room.wait()
            number, view = await self._newest.after(number)
            message, fresh = await self._message(number, view)
            self._on_the_way[number] = view.captured_at_s if fresh else None
            if len(self._on_the_way) >= AHEAD:
                self._room.clear()
            await self._socket.send(message)

    async def _message(self, number: int, view: View) -> tuple[bytes, bool]:
        """The bytes, and whether the result in them is new to the browser."""
        codes, lengths = [], {}
        fresh = self._has.get("after") is not view.after
        for side, picture in (("before", view.before), ("after", view.after)):
            if side not in self._sides:
                lengths[side] = -1
                self._has.pop(side, None)
            elif self._has.get(side) is picture:
                lengths[side] = 0
            else:
                codes.append(await self._newest.jpeg(picture))
                lengths[side] = len(codes[-1])
                self._has[side] = picture
        now, status = time.monotonic(), view.status
        head = json.dumps(
            {
                "number": number,
                **lengths,
                "figures": self._meter.onto(status, now).lines(now - view.captured_at_s),
                "message": status.message,
                "strength": status.strength,
                "frozen": status.frozen,
                "recording": status.recording is not None,
            }
        ).encode()
        return b"".join((struct.pack(">I", len(head)), head, *codes)), fresh

    async def _hear(self) -> None:
        async for message in self._socket:
            try:
                said = json.loads(message)
            except ValueError:
                continue
            if isinstance(said, dict):
                self._answer(said)

    def _answer(self, said: dict[str, Any]) -> None:
        """Whatever is not understood is passed over: it comes from outside."""
        match said:
            case {"seen": int(number)}:
                self._seen(number)
            case {"wants": "both" | "after" as wanted}:
                self._sides = ("before", "after") if wanted == "both" else ("after",)
            case {"strength": int(value) | float(value)} if 0 <= value <= 1:
                self._controls.set_strength(value)
            case {"wish": str(name)}:
                self._controls.wish(name)

    def _seen(self, number: int) -> None:
        now = time.monotonic()
        captured_at_s = self._on_the_way.get(number)
        if captured_at_s is not None:
            self._meter.shown(now, now - captured_at_s)
        self._on_the_way = {key: at for key, at in self._on_the_way.items() if key > number}
        if len(self._on_the_way) < AHEAD:
            self._room.set()


def _jpeg(picture: Picture) -> bytes:
    """By OpenCV, which takes a quarter of the time of FFmpeg's encoder."""
    cv2 = opencv()
    blue_first = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, code = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise VdeblurError(f"a picture of {picture.shape[1]}x{picture.shape[0]} cannot be coded as JPEG")
    return bytes(code)
