"""One browser that watches: gets the newest pictures at its own pace, and its wishes are heard.

At most `AHEAD` pictures are on the way to it; whatever comes meanwhile is skipped, so that a slow line shows
fewer pictures and not older ones.  The browser confirms what it has drawn, which tells how old the picture on
its screen is (the way back included, so never too little).
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import struct
import time
from typing import TYPE_CHECKING, Any

from vdeblur.jobs.live.jpegs import Newest
from vdeblur.jobs.live.meter import Meter
from vdeblur.jobs.live.overlay import figures
from vdeblur.jobs.live.view import Controls, Picture, Status, View
from vdeblur.jobs.live.wishes import wishes

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

AHEAD = 2


class Watcher:
    """Used by the thread of one event loop. The messages are described in `page/page.js`."""

    def __init__(self, socket: ServerConnection, newest: Newest, controls: Controls) -> None:
        self._socket, self._newest = socket, newest
        self._controls, self._wishes = controls, wishes(controls)
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
        status = self._here(view.status)
        head = json.dumps(
            {
                "number": number,
                **lengths,
                "figures": figures(status, time.monotonic() - view.captured_at_s),
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
            case {"wish": str(name)} if name in self._wishes:
                self._wishes[name]()

    def _seen(self, number: int) -> None:
        now = time.monotonic()
        captured_at_s = self._on_the_way.get(number)
        if captured_at_s is not None:
            self._meter.shown(now, now - captured_at_s)
        self._on_the_way = {key: at for key, at in self._on_the_way.items() if key > number}
        if len(self._on_the_way) < AHEAD:
            self._room.set()

    def _here(self, status: Status) -> Status:
        """With the rate and the ages of this browser, once it has some."""
        now = time.monotonic()
        if not (rate := self._meter.rate(now)):
            return status
        p50, p95 = (self._meter.recent_age(now, share) for share in (0.50, 0.95))
        return dataclasses.replace(status, age_p50_s=p50, age_p95_s=p95, shown_fps=rate)
