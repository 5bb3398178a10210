"""What a camera does to light: response curve, highlights, noise, compression. Plain numpy, OpenCV and PyAV
late.

Light is linear float32, HxWx3, where 1 is what an 8-bit picture shows as white; it may exceed 1.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vdeblur.data.drawings import Picture
from vdeblur.data.opencv import opencv

Light = NDArray[np.float32]

GLOW = 0.1
"""Share of what is beyond white that a lens scatters over each of the two widths."""
GLOW_SIGMAS = (3.0, 12.0)  # px
GLOWING = 3.0
"""Highlights that are lifted by more than this are lamps, and glow."""

_STEPS = 4096


@dataclass(frozen=True, slots=True)
class Response:
    """A camera's curve as two tables: code value to light (256 entries), light 0..1 to code value (4097
    entries).
    """

    to_light: NDArray[np.float32]
    to_code: NDArray[np.float32]

    def light(self, picture: Picture) -> Light:
        """Code values to light in [0, 1]."""
        return self.to_light[picture]

    def code(self, light: Light) -> NDArray[np.float32]:
        """Light, clipped to [0, 1], to code values 0..255, not rounded."""
        return self.to_code[(np.clip(light, 0.0, 1.0) * _STEPS + 0.5).astype(np.int32)]


def random_curve(rng: np.random.Generator) -> tuple[float, float]:
    """(gamma, contrast) of `make_response`: the identity (3 in 10), a power of 1.6 to 2.6 (4 in 10), or one
    with an S curve like a camera's (3 in 10).
    """
    kind = rng.random()
    if kind < 0.3:
        return 1.0, 0.0
    if kind < 0.7:
        return float(rng.uniform(1.6, 2.6)), 0.0
    return float(rng.uniform(1.6, 2.4)), float(rng.uniform(0.1, 0.7))


def make_response(gamma: float, contrast: float) -> Response:
    """code = S(light ** (1 / gamma)), where S mixes the identity with a smooth step by `contrast` (0..1)."""
    light = np.linspace(0.0, 1.0, _STEPS + 1)
    code = light ** (1.0 / gamma)
    code = (1 - contrast) * code + contrast * code * code * (3 - 2 * code)
    to_light = np.interp(np.arange(256) / 255.0, code, light)
    return Response(to_light.astype(np.float32), (255.0 * code).astype(np.float32))


def lift_highlights(light: Light, threshold: float, gain: float) -> Light:
    """Brighten what lies above `threshold` smoothly, up to `gain` times where light is 1: lamps, sky,
    reflections.
    """
    peak = light.max(axis=2, keepdims=True)
    share = np.clip((peak - threshold) / (1.0 - threshold), 0.0, 1.0)
    return np.asarray(light * (1.0 + (gain - 1.0) * share * share))


def add_glow(light: Light) -> Light:
    """What a lens scatters around light beyond white: a tenth of the excess each over about 3 and 12 px."""
    cv2 = opencv()
    excess = np.maximum(light - 1.0, 0.0)
    near, far = (cv2.GaussianBlur(excess, (0, 0), sigma) for sigma in GLOW_SIGMAS)
    return np.asarray(light + GLOW * (near + far))


def add_noise(rng: np.random.Generator, light: Light, shot: float, read: float) -> Light:
    """Noise of variance shot x light + read^2, a third of the time smoothed as denoisers leave it."""
    cv2 = opencv()
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    noise *= np.sqrt(shot * np.maximum(light, 0.0) + read * read)
    if rng.random() < 0.33:
        noise = cv2.GaussianBlur(noise, (0, 0), float(rng.uniform(0.5, 1.0)))
    return np.asarray(light + noise)


def jpeg(picture: Picture, quality: int) -> Picture:
    """The picture after a JPEG with 4:2:0 chroma."""
    cv2 = opencv()
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def h264(pictures: list[Picture], crf: int) -> list[Picture]:
    """Consecutive pictures of one even size after H.264 in 4:2:0, encoded and decoded in memory."""
    import av
    import av.video

    height, width = pictures[0].shape[:2]
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        # With its macroblock tree libx264 gives one of two results by chance for small pictures.
        options = {"crf": str(crf), "preset": "veryfast", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=24, options=options)
        assert isinstance(stream, av.video.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as source:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in source.decode(video=0)]
