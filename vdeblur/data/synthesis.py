"""Sharp pictures to pairs of blurred and sharp ones, by moving a camera and things before it during an
exposure.

Light is averaged linearly over sub-frames, in each of which nearer layers hide farther ones; then comes the
camera: response, noise, compression. The sharp side is the picture at the middle of the exposure. The reasons
for each part (what matters for real video) are in docs/training-notes.md.

`make_pair` is a pure function of its random generator. Making a pair costs far more than a crop of one, so
`samples.Pool` keeps some in memory and takes several crops of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from vdeblur.data import sensor
from vdeblur.data.drawings import Mask, Picture, draw_text, drawn_picture, soft_mask
from vdeblur.data.opencv import opencv
from vdeblur.errors import InputError

Pose = NDArray[np.float64]
"""Nx2x3: for each sub-frame the affine map from output to source pixels, as `warpAffine` takes it."""

_BOUNDS = (("shortest_px", "longest_px"), ("smallest", "largest"), ("fewest", "most"))


@dataclass(frozen=True, slots=True)
class BlurSettings:
    """How often and how strongly things happen; every share is a probability.

    `shortest_px` and `longest_px` bound the length of the camera's path, `smallest` and `largest` the scale
    of a photograph (both log-uniform). `defocused` is the share of scenes that are soft on both sides: half
    all over, as a missed focus or an enlarged video is, half in part, as with a shallow depth of field; half
    of either do not move. `dark` is the share that got less light than a well exposed picture, by down to a
    sixteenth: dusk, rooms, fades. `neutral` is the share of pairs whose sharp side takes over the very low
    frequencies of the blurred side: averaging linear light brightens (mean(x) ** (1/g) >= mean(x ** (1/g))),
    cameras differ in it, and a network that learns one camera's change shifts the brightness of all others.
    """

    size: int = 256
    shortest_px: float = 2.0
    longest_px: float = 36.0
    still: float = 0.03
    layers: float = 0.4
    few_frames: float = 0.12
    fewest: int = 9
    most: int = 65
    smallest: float = 0.5
    largest: float = 1.6
    drawn: float = 0.15
    text: float = 0.08
    soft: float = 0.25
    defocused: float = 0.12
    dark: float = 0.0
    highlights: float = 0.3
    noise: float = 0.3
    jpeg: float = 0.12
    h264: float = 0.08
    neutral: float = 0.5

    def check(self, origin: str) -> None:
        """InputError, naming `origin`, for a value that no pair can be made with."""
        if self.size < 16 or self.size % 2:  # H.264 takes even sides only
            raise InputError(f"{origin}: blur_size is {self.size}; it must be even, and 16 at least")
        for low, high in _BOUNDS:
            least, most = getattr(self, low), getattr(self, high)
            if not 0 < least <= most < np.inf:
                raise InputError(
                    f"{origin}: blur_{low} is {least} and blur_{high} is {most}; the first must be above 0, "
                    "the second not below it"
                )
        others = {"size", *chain(*_BOUNDS)}
        for name in (f.name for f in fields(self) if f.name not in others):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{origin}: blur_{name} is {getattr(self, name)}; it must lie in [0, 1]")


@dataclass(frozen=True, slots=True)
class Pair:
    """A blurred picture and the sharp one at the middle of its exposure, HxWx3 uint8 RGB."""

    blurred: Picture
    sharp: Picture


@dataclass(frozen=True, slots=True)
class _Layer:
    """Light times cover (HxWx3), cover (HxW) and the layer's motion."""

    light: sensor.Light
    cover: Mask
    pose: Pose


def held_out(name: str) -> bool:
    """Whether a photograph never enters training: those whose file name has a CRC-32 divisible by ten."""
    return crc32(name.encode()) % 10 == 0


def make_pair(
    rng: np.random.Generator, photographs: Sequence[Picture], settings: BlurSettings | None = None
) -> Pair:
    """One random pair of `settings.size` pixels a side."""
    s = settings or BlurSettings()
    response = sensor.make_response(*sensor.random_curve(rng))
    highlight = (float(rng.uniform(0.75, 0.95)), float(np.exp(rng.uniform(0.0, np.log(8.0)))))
    lifted = rng.random() < s.highlights
    soft = s.defocused > 0 and rng.random() < s.defocused
    shallow = soft and rng.random() < 0.5
    defocus = _random_defocus(rng) if soft and not shallow else None
    exposure = random_exposure(rng) if s.dark and rng.random() < s.dark else 1.0
    ground = _source(rng, photographs, s)

    def layer(picture: Picture, cover: Mask, pose: Pose) -> _Layer:
        light = response.light(picture)
        if lifted:
            light = sensor.lift_highlights(light, *highlight)
        focus = _random_depth(rng) if shallow else defocus
        if focus is not None:
            light, cover = focus(light), np.minimum(focus(cover), np.float32(1))
        if lifted and highlight[1] > sensor.GLOWING:
            # Part of the scene for both sides: what a lens scatters is no motion and stays.
            light = sensor.add_glow(light)
        return _Layer(light * np.float32(exposure) * cover[..., None], cover, pose)

    still = rng.random() < (max(s.still, 0.5) if soft else s.still)
    length = 0.0 if still else float(np.exp(rng.uniform(np.log(s.shortest_px), np.log(s.longest_px))))
    layers = int(rng.integers(1, 4)) if shallow or rng.random() < s.layers else 0
    lengths = [0.0 if still else _layer_length(rng, length, s) for _ in range(layers)]
    count = sub_frames(rng, max([length, *lengths]), s)

    moves = _motion(rng, count, length, s.size)
    scene = [layer(ground, np.ones((s.size, s.size), np.float32), moves)]
    for own in lengths:
        parallax = float(rng.uniform(0.0, 1.5)) if rng.random() < 0.6 else 0.0
        pose = _motion(rng, count, own, s.size)
        pose[:, :, 2] += parallax * moves[:, :, 2]
        cover = soft_mask(rng, s.size, s.size)
        scene.append(layer(_source(rng, photographs, s), cover, pose))

    middle = count // 2
    sharp_light = _expose(scene, [middle])
    blurred_light = sharp_light if still else _expose(scene, range(count))
    sharp = response.code(sharp_light)
    clean = response.code(blurred_light)
    if rng.random() < s.neutral:
        sharp = sharp + _very_low(clean - sharp)
    if rng.random() < s.noise:
        shot = float(np.exp(rng.uniform(np.log(1e-5), np.log(1e-3))))
        read = float(np.exp(rng.uniform(np.log(3e-4), np.log(8e-3))))
        clean = response.code(sensor.add_noise(rng, blurred_light, shot, read))
    blurred = _rounded(clean)
    kind = rng.random()
    if kind < s.jpeg:
        blurred = sensor.jpeg(blurred, int(rng.integers(60, 98)))
    elif kind < s.jpeg + s.h264:
        blurred = _through_video(rng, blurred, moves)
    return Pair(blurred, _rounded(sharp))


def random_exposure(rng: np.random.Generator) -> float:
    """Light of a dark picture, as a share of that of a well exposed one."""
    return float(np.exp(rng.uniform(np.log(0.06), np.log(0.7))))


def shake(rng: np.random.Generator, picture: Picture, length_px: float, response: sensor.Response) -> Pair:
    """A whole picture (HxWx3 uint8) seen by a shaken camera, without noise or compression.

    `length_px` is that of the camera's path. Cropped to what lies in the picture during all of the exposure.
    """
    height, width = picture.shape[:2]
    count = int(np.ceil(length_px * 1.1) // 2 * 2 + 3)
    pose = _motion(rng, count, length_px, max(height, width))
    light = response.light(picture)
    scene = [_Layer(light, np.ones((height, width), np.float32), pose)]
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]])
    strays = np.abs(pose @ corners.T - corners.T[:2]).max(axis=(0, 2))
    x, y = (int(np.ceil(stray)) + 1 for stray in strays)
    if 2 * x >= width or 2 * y >= height:
        raise InputError(f"a picture of {width}x{height} is too small for a path of {length_px:.0f} pixels")
    inner = np.s_[y : height - y, x : width - x]
    blurred = _rounded(response.code(_expose(scene, range(count))))
    return Pair(np.ascontiguousarray(blurred[inner]), np.ascontiguousarray(picture[inner]))


def neutralised(pair: Pair) -> Pair:
    """A pair whose sharp side takes over the very low frequencies of the blurred one."""
    sharp = pair.sharp.astype(np.float32)
    return Pair(pair.blurred, _rounded(sharp + _very_low(pair.blurred - sharp)))


def _source(rng: np.random.Generator, photographs: Sequence[Picture], s: BlurSettings) -> Picture:
    """A sharp picture of s.size: a scaled part of a photograph or a drawing; at times softened as a lens
    does.
    """
    cv2 = opencv()
    photograph = photographs[int(rng.integers(len(photographs)))]
    if rng.random() < s.drawn:
        picture = drawn_picture(rng, s.size, s.size, photograph)
    else:
        fitting = s.size / min(photograph.shape[:2])
        scale = max(float(np.exp(rng.uniform(np.log(s.smallest), np.log(s.largest)))), fitting)
        part = int(np.ceil(s.size / scale))
        part = min(part, *photograph.shape[:2])
        top = rng.integers(photograph.shape[0] - part + 1)
        left = rng.integers(photograph.shape[1] - part + 1)
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        picture = cv2.resize(
            photograph[top : top + part, left : left + part], (s.size, s.size), interpolation=way
        )
        if rng.random() < s.text:
            draw_text(rng, picture, photograph, int(rng.integers(1, 6)))
    if rng.random() < s.soft:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 1.0)))
    return np.asarray(picture, np.uint8)


def _random_defocus(rng: np.random.Generator) -> Callable[[sensor.Light], sensor.Light]:
    """A missed focus (a Gaussian or a disc), or a picture that was small once and has been enlarged."""
    cv2 = opencv()
    kind = rng.random()
    if kind < 0.4:
        sigma = float(np.exp(rng.uniform(np.log(0.9), np.log(3.0))))
        return lambda light: np.asarray(cv2.GaussianBlur(light, (0, 0), sigma), np.float32)
    if kind < 0.7:
        return _disc(float(np.exp(rng.uniform(np.log(1.2), np.log(5.0)))))
    scale = float(rng.uniform(1.5, 4.0))
    way = [cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4][int(rng.integers(3))]

    def enlarge(light: sensor.Light) -> sensor.Light:
        height, width = light.shape[:2]
        size = round(width / scale), round(height / scale)
        small = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (width, height), interpolation=way).clip(0), np.float32)

    return enlarge


def _random_depth(rng: np.random.Generator) -> Callable[[sensor.Light], sensor.Light] | None:
    """What a lens does with a thing at some distance: nothing (in focus), or a disc for each point."""
    if rng.random() < 0.4:
        return None
    return _disc(float(np.exp(rng.uniform(np.log(1.2), np.log(12.0)))))


def _disc(radius: float) -> Callable[[sensor.Light], sensor.Light]:
    cv2 = opencv()
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0.0, 1.0).astype(np.float32)
    disc /= disc.sum()
    return lambda light: np.asarray(cv2.filter2D(light, -1, disc).clip(0), np.float32)


def _layer_length(rng: np.random.Generator, camera: float, s: BlurSettings) -> float:
    if rng.random() < 0.2:
        return 0.0
    return float(np.exp(rng.uniform(np.log(s.shortest_px), np.log(s.longest_px))))


def sub_frames(rng: np.random.Generator, length: float, s: BlurSettings) -> int:
    """An odd number, so that one sub-frame is the middle; at times as few as a 240 fps camera would give."""
    if rng.random() < s.few_frames:
        return int(rng.choice([7, 9, 11, 13]))
    return int(np.clip(np.ceil(length * 1.1) // 2 * 2 + 1, s.fewest, s.most))


def _motion(rng: np.random.Generator, count: int, length: float, size: int) -> Pose:
    """Affine poses along a path with inertia: `length` px of shift, some rotation, zoom and unequal depth.

    The middle pose is the identity, so that the sharp side is the source itself.
    """
    pose = np.zeros((count, 2, 3))
    pose[:, 0, 0] = pose[:, 1, 1] = 1.0
    if length == 0.0:
        return pose
    shift = _walk(rng, count, 2)
    travelled = np.linalg.norm(np.diff(shift, axis=0), axis=1).sum()
    pose[:, :, 2] = shift * (length / max(float(travelled), 1e-9))
    if rng.random() < 0.7:
        half = size / 2
        # Displacements at the border of the picture, as shares of the path's length.
        turn, zoom = rng.normal(0.0, 0.25, 2) * length / half
        shear = rng.normal(0.0, 0.12, (2, 2)) * length / half
        matrix = np.array([[zoom, -turn], [turn, zoom]]) + shear
        centre = rng.uniform(0, size, 2)
        course = _walk(rng, count, 1)[:, 0]
        course /= max(float(np.ptp(course)), 1e-9)
        pose[:, :, :2] += course[:, None, None] * matrix
        pose[:, :, 2] -= course[:, None] * (matrix @ centre)
    return pose


def _walk(rng: np.random.Generator, count: int, axes: int) -> NDArray[np.float64]:
    """Positions of a walk whose velocity is a first-order process; zero at the middle sample."""
    # In exposures: video is shot at 1/25 s and shorter, in which hands and cars hardly turn round.
    trembling = rng.random() < 0.12
    memory = float(
        np.exp(rng.uniform(np.log(0.2), 0.0) if trembling else rng.uniform(np.log(2.0), np.log(60.0)))
    )
    keep = np.exp(-1.0 / (memory * count))
    kicks = rng.standard_normal((count, axes)) * np.sqrt(1 - keep * keep)
    velocity = np.empty((count, axes))
    velocity[0] = rng.standard_normal(axes)
    for i in range(1, count):
        velocity[i] = keep * velocity[i - 1] + kicks[i]
    walk = np.cumsum(velocity, axis=0)
    return np.asarray(walk - walk[count // 2])


def _expose(scene: Sequence[_Layer], frames: Sequence[int]) -> sensor.Light:
    """The mean light over the given sub-frames; layers hide those before them in every sub-frame."""
    cv2 = opencv()
    height, width = scene[0].light.shape[:2]
    way = (cv2.INTER_CUBIC if len(frames) <= 13 else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    total = np.zeros((height, width, 3), np.float32)
    for i in frames:
        picture: sensor.Light | None = None
        for layer in scene:
            matrix = layer.pose[i]
            moved = not np.array_equal(matrix, _IDENTITY)
            light, cover = layer.light, layer.cover
            if moved:
                light = cv2.warpAffine(
                    light, matrix, (width, height), flags=way, borderMode=cv2.BORDER_REFLECT_101
                )
            if picture is None:
                picture = light if moved else light.copy()
                continue
            if moved:
                cover = cv2.warpAffine(
                    cover, matrix, (width, height), flags=way, borderMode=cv2.BORDER_REFLECT_101
                )
            picture *= (1.0 - cover)[..., None]
            picture += light
        assert picture is not None
        total += picture
    total /= len(frames)
    return np.maximum(total, 0.0)


_IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def _very_low(difference: NDArray[np.float32]) -> NDArray[np.float32]:
    """The part of a difference that is smoother than about 32 px."""
    cv2 = opencv()
    height, width = difference.shape[:2]
    size = max(1, width // 16), max(1, height // 16)
    small = cv2.resize(difference, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 2.0, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _through_video(rng: np.random.Generator, blurred: Picture, moves: Pose) -> Picture:
    """The middle of three frames after H.264: the neighbours are the picture moved on by the exposure's
    path.
    """
    cv2 = opencv()
    size = blurred.shape[0]
    step = moves[-1, :, 2] - moves[0, :, 2]
    before, after = (
        cv2.warpAffine(
            blurred,
            np.array([[1.0, 0.0, sign * step[0]], [0.0, 1.0, sign * step[1]]]),
            (size, size),
            borderMode=cv2.BORDER_REFLECT_101,
        )
        for sign in (-1.0, 1.0)
    )
    return sensor.h264([before, blurred, after], int(rng.integers(16, 30)))[1]


def _rounded(code: NDArray[np.float32]) -> Picture:
    return np.asarray(np.clip(code + 0.5, 0, 255), np.uint8)
