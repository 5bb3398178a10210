"""The newest view and its JPEGs, made once for all who watch and only when somebody asks for them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from vdeblur.data.opencv import opencv
from vdeblur.errors import VdeblurError
from vdeblur.jobs.live.view import Picture, View

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


def _jpeg(picture: Picture) -> bytes:
    """By OpenCV, which takes a quarter of the time of FFmpeg's encoder."""
    cv2 = opencv()
    blue_first = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, code = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise VdeblurError(f"a picture of {picture.shape[1]}x{picture.shape[0]} cannot be coded as JPEG")
    return bytes(code)
