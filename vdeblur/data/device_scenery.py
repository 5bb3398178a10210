"""What stands before the camera, made on the device: parts of photographs, drawings, masks, missed focus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vdeblur.data.synthesis import BlurSettings

_LEAVES = 200


def sources(
    rng: np.random.Generator,
    pictures: Sequence[Tensor],
    drawings: Sequence[Tensor],
    count: int,
    s: BlurSettings,
) -> Tensor:
    """Scaled parts of random pictures, count x 3 x size x size, 0..255; some softened as a lens does."""
    parts = []
    for _ in range(count):
        chosen = drawings if drawings and rng.random() < s.drawn else pictures
        picture = chosen[int(rng.integers(len(chosen)))]
        scale = float(np.exp(rng.uniform(np.log(s.smallest), np.log(s.largest))))
        side = min(int(np.ceil(s.size / scale)), *picture.shape[1:])
        top = int(rng.integers(picture.shape[1] - side + 1))
        left = int(rng.integers(picture.shape[2] - side + 1))
        part = picture[None, :, top : top + side, left : left + side].float()
        if side != s.size:
            part = F.interpolate(
                part, (s.size, s.size), mode="bicubic", align_corners=False, antialias=side > s.size
            )
        parts.append(part.clamp_(0, 255))
    sigma = np.where(rng.random(count) < s.soft, rng.uniform(0.3, 1.0, count), 0.0)
    return gaussian(torch.cat(parts), sigma)


def there(values: object, device: torch.device) -> Tensor:
    """Numbers of the host as float32 on a device, without waiting for the work that it still has."""
    return torch.as_tensor(np.asarray(values, np.float32)).to(device, non_blocking=True)


def dead_leaves(random: torch.Generator, size: int, device: torch.device) -> Tensor:
    """3xSxS uint8: ellipses and boxes of random colours over each other, small ones most often."""
    at = torch.arange(size, device=device, dtype=torch.float32)
    x, y = at[None, :], at[:, None]

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random, device=device)

    values = uniform(_LEAVES, 10)
    radius = (2 / values[:, 0] ** 0.6).clamp(max=0.3 * size)
    angle = values[:, 1] * torch.pi
    half = radius[:, None] * (0.3 + 1.2 * values[:, 2:4])
    centre = values[:, 4:6] * size
    round_one = values[:, 6] < 0.5
    colours = 255 * values[:, 7:10]
    picture = (255 * uniform(1, 3, 2, 2)).float()
    picture = F.interpolate(picture, (size, size), mode="bilinear", align_corners=True)[0]
    cos, sin = angle.cos(), angle.sin()
    for i in range(_LEAVES):
        dx, dy = x - centre[i, 0], y - centre[i, 1]
        u, v = (dx * cos[i] + dy * sin[i]) / half[i, 0], (dy * cos[i] - dx * sin[i]) / half[i, 1]
        distance = torch.where(round_one[i], (u * u + v * v).sqrt(), torch.maximum(u.abs(), v.abs()))
        cover = ((1 - distance) * half[i].min() + 0.5).clamp(0, 1)
        picture = picture + cover * (colours[i, :, None, None] - picture)
    return picture.round().clamp(0, 255).to(torch.uint8)


def soft_masks(random: torch.Generator, count: int, size: int, device: torch.device) -> Tensor:
    """count x 1 x S x S, 1 inside: ellipses, convex polygons or clouds, with edges of one to a few px."""
    at = torch.arange(size, device=device, dtype=torch.float32)
    values = torch.rand(count, 32, generator=random, device=device)
    radius = 0.05 * size * (9 ** values[:, 0])
    dx = (at - (0.1 + 0.8 * values[:, 1:2]) * size)[:, None, :]
    dy = (at - (0.1 + 0.8 * values[:, 2:3]) * size)[:, :, None]

    def column(column: Tensor) -> Tensor:
        return column[:, None, None]

    half = radius[:, None] * (0.4 + values[:, 3:5])
    angle = column(values[:, 5] * torch.pi)
    u, v = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    inside = 1 - ((u / column(half[:, 0])).square() + (v / column(half[:, 1])).square()).sqrt()
    ellipse = inside * column(half.amin(1))

    polygon = torch.full_like(ellipse, 1e9)
    for i in range(6):
        turn = column((i + values[:, 6 + i]) * (torch.pi / 3))
        reach = column(radius * (0.3 + 1.0 * values[:, 12 + i]))
        polygon = torch.minimum(polygon, reach - (dx * turn.cos() + dy * turn.sin()))

    cells = torch.randn(count, 1, 6, 6, generator=random, device=device)
    cloud = F.interpolate(cells, (size, size), mode="bicubic", align_corners=False)[:, 0]
    cloud = (cloud - column(values[:, 20])) * column(radius) * 0.4

    kind = column(values[:, 21])
    distance = torch.where(kind < 0.33, ellipse, torch.where(kind < 0.67, polygon, cloud))
    edge = column(torch.where(values[:, 22] < 0.5, 1.0, 1.0 + 4 * values[:, 23]))
    return (distance / edge + 0.5).clamp(0, 1)[:, None]


def gaussian(pictures: Tensor, sigmas: NDArray[np.float64]) -> Tensor:
    """Each picture (NxCxHxW) smoothed by its own sigma in px; 0 leaves it as it is. Borders are mirrored."""
    reach = int(np.ceil(3 * float(np.max(sigmas, initial=0.0))))
    if reach == 0:
        return pictures
    reach = min(reach, min(pictures.shape[-2:]) - 1)
    at = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (at / np.maximum(sigmas, 1e-3)[:, None]) ** 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    n, c, height, width = pictures.shape
    weight = there(kernel.repeat(c, axis=0), pictures.device)
    flat = F.pad(pictures, (reach,) * 4, "reflect").view(1, n * c, height + 2 * reach, width + 2 * reach)
    flat = F.conv2d(flat, weight[:, None, :, None], groups=n * c)
    return F.conv2d(flat, weight[:, None, None, :], groups=n * c).view(n, c, height, width)


def random_defocus(rng: np.random.Generator) -> Callable[[Tensor], Tensor]:
    """A missed focus (a Gaussian or a disc), or a picture that was small once and has been enlarged."""
    kind = rng.random()
    if kind < 0.4:
        sigma = float(np.exp(rng.uniform(np.log(0.9), np.log(3.0))))
        return lambda pictures: gaussian(pictures, np.full(len(pictures), sigma))
    if kind < 0.7:
        return _disc(float(np.exp(rng.uniform(np.log(1.2), np.log(5.0)))))
    scale = float(rng.uniform(1.5, 4.0))
    way = ["bilinear", "bicubic"][int(rng.integers(2))]

    def enlarge(pictures: Tensor) -> Tensor:
        size = round(pictures.shape[-2] / scale), round(pictures.shape[-1] / scale)
        small = F.interpolate(pictures, size, mode="area")
        return F.interpolate(small, pictures.shape[-2:], mode=way, align_corners=False).clamp(min=0)

    return enlarge


def random_depth(rng: np.random.Generator) -> Callable[[Tensor], Tensor] | None:
    """What a lens does with a thing at some distance: nothing (in focus), or a disc for each point."""
    if rng.random() < 0.4:
        return None
    return _disc(float(np.exp(rng.uniform(np.log(1.2), np.log(12.0)))))


def _disc(radius: float) -> Callable[[Tensor], Tensor]:
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0.0, 1.0)

    def blur(light: Tensor) -> Tensor:
        weight = there(disc / disc.sum(), light.device).expand(light.shape[1], 1, *disc.shape)
        return F.conv2d(F.pad(light, (reach,) * 4, "reflect"), weight, groups=light.shape[1])

    return blur
