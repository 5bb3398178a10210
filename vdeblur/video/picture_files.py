"""One frame into one picture file, with what the source file says about itself besides its pixels.

The suffix of the target decides the format.  PNG is encoded by FFmpeg (16 bits, grey, alpha) and gets all
of the source's chunks; JPEG, WebP and BMP by Pillow; TIFF by tifffile.  The last two are imported late.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np

from vdeblur.errors import InputError
from vdeblur.frame import Frame, Plane
from vdeblur.video import formats, jpeg
from vdeblur.video.names import JPEG

_QUALITY = 95
# What Pillow reads and can write again.
_KEPT = {
    **dict.fromkeys(JPEG, ("exif", "icc_profile", "xmp", "dpi", "comment")),
    ".webp": ("exif", "icc_profile", "xmp"),
    ".bmp": ("dpi",),
}
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Chunks that describe the encoding itself, which is new; all others come along.
_OWN_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"sBIT", b"bKGD", b"hIST"}
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
# Baseline and common tags of the source that are not about how its pixels lie.
_TIFF_TAGS = (270, 271, 272, 274, 305, 306, 315, 33432, 700, 33723, 34377, 34675)


def refuse_several(path: Path) -> None:
    """Refuse moving pictures and TIFFs of many pages, of which only the first would be left (InputError)."""
    if path.suffix.lower() in (".tif", ".tiff"):
        import tifffile

        try:
            with tifffile.TiffFile(path) as file:
                pages = len(file.pages)
        except (OSError, tifffile.TiffFileError, ValueError):
            return  # what is wrong with it is said where it is decoded
        if pages > 1:
            raise InputError(f"{path}: holds {pages} pages; split it into single pictures first")
    if path.suffix.lower() not in (".png", ".webp"):
        return
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if head.startswith(_SIGNATURE) and b"acTL" in head:
        raise InputError(f"{path}: an animated picture; named .apng it is read as a video")
    if head.startswith(b"RIFF") and b"ANIM" in head[:64]:
        raise InputError(f"{path}: an animated picture; convert it to a video first")


def is_cut_jpeg(path: Path) -> bool:
    """Whether a file is a JPEG that breaks off."""
    return path.suffix.lower() in JPEG and jpeg.is_cut(path.read_bytes())


def encode(frame: Frame, source: Path, target: Path) -> None:
    """Write the frame's planes to `target`; metadata is taken from `source` where the formats agree."""
    suffix = target.suffix.lower()
    if suffix == ".png":
        data = _png(frame)
        same = source.suffix.lower() == ".png" and source.is_file()
        target.write_bytes(_with_chunks(data, source.read_bytes()) if same else data)
    elif suffix in (".tif", ".tiff"):
        _write_tiff(frame, source, target)
    else:
        _write_with_pillow(frame, source, target)


def write_png(path: Path, pixels: Plane) -> None:
    """Write rows x columns (grey) or rows x columns x 3 (RGB) of uint8 or uint16 as PNG."""
    wide = pixels.dtype == np.uint16
    name = ("gray16le" if wide else "gray") if pixels.ndim == 2 else ("rgb48le" if wide else "rgb24")
    layout = formats.layout_of(name, pixels.shape[1], pixels.shape[0], range_tag=2)
    path.write_bytes(_png(Frame((pixels,), layout, 0, Fraction(1, 25), 1, 0)))


def rgb_of(frame: Frame) -> Plane:
    """A frame of any layout as rows x columns x 3 of uint8 RGB, full range, by swscale; alpha is dropped."""
    return np.asarray(_picture(frame).reformat(format="rgb24", dst_color_range=2).to_ndarray(), np.uint8)


def _picture(frame: Frame) -> av.VideoFrame:
    """A new av frame holding the planes, tagged so that swscale reads them rightly."""
    layout = frame.layout
    picture = av.VideoFrame(layout.width, layout.height, layout.name)
    for into, plane in zip(formats.views(picture), frame.planes, strict=True):
        into[...] = plane
    picture.color_range = 2 if layout.range == "full" else 1
    picture.colorspace = {"bt709": 1, "bt2020nc": 9, "rgb": 0}.get(layout.matrix, 5)
    picture.pts, picture.time_base = 0, Fraction(1, 25)
    return picture


def _plain(frame: Frame, order: str = "le") -> av.VideoFrame:
    """The picture as packed grey or RGB, with or without alpha, in words of 8 or 16 bits (in this order)."""
    layout = frame.layout
    deep, alpha = layout.depth > 8, layout.alpha is not None
    if layout.kind == "gray":
        name = ("ya16" if deep else "ya8") if alpha else ("gray16" if deep else "gray")
    else:
        name = ("rgba64" if deep else "rgba") if alpha else ("rgb48" if deep else "rgb24")
    name += order if deep else ""
    picture = _picture(frame)
    return picture if layout.name == name else picture.reformat(format=name, dst_color_range=2)


def _png(frame: Frame) -> bytes:
    """The picture as a PNG file; formats that PNG does not know become RGB."""
    picture = _plain(frame, "be")
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = picture.width, picture.height, picture.format.name
    context.time_base = Fraction(1, 25)
    context.options = {"pred": "mixed"}
    return b"".join(bytes(packet) for packet in [*context.encode(picture), *context.encode(None)])


def _with_chunks(new: bytes, source: bytes) -> bytes:
    """The new file's pixels with the source file's other chunks, in the places where they stood."""
    before, after, seen_pixels = b"", b"", False
    for kind, chunk in _chunks(source):
        seen_pixels = seen_pixels or kind == b"IDAT"
        if kind in _OWN_CHUNKS or kind in _ANIMATION:
            continue
        before, after = (before, after + chunk) if seen_pixels else (before + chunk, after)
    own = [(kind, chunk) for kind, chunk in _chunks(new) if kind in _OWN_CHUNKS]
    head = b"".join(chunk for kind, chunk in own if kind == b"IHDR")
    pixels = b"".join(chunk for kind, chunk in own if kind == b"IDAT")
    end = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    return _SIGNATURE + head + before + pixels + after + end


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at : at + 12 + length]
        at += 12 + length


def _write_with_pillow(frame: Frame, source: Path, target: Path) -> None:
    from PIL import Image

    suffix = target.suffix.lower()
    extra: dict[str, Any] = {}
    lossless = False
    if source.is_file():
        with Image.open(source) as old:
            extra = {key: old.info[key] for key in _KEPT[suffix] if old.info.get(key)}
            lossless = old.format != "JPEG" and not (old.format == "WEBP" and _is_lossy_webp(source))
    if suffix in JPEG:
        image, sampling = _jpeg_image(frame)
        image.save(target, "JPEG", quality=_QUALITY, subsampling=sampling, optimize=True, **extra)
    elif suffix == ".webp":
        quality = 100 if lossless else _QUALITY
        _image(frame).save(target, "WEBP", lossless=lossless, quality=quality, exact=True, **extra)
    else:
        _image(frame).save(target, "BMP", **extra)


def _image(frame: Frame) -> Any:
    """For Pillow's formats, none of which holds more than 8 bits."""
    from PIL import Image

    pixels = formats.views(_plain(frame))[0]
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _is_lossy_webp(path: Path) -> bool:
    with path.open("rb") as file:
        return b"VP8 " in file.read(4096)


def _jpeg_image(frame: Frame) -> tuple[Any, str]:
    """A Pillow image and the subsampling to save it with; YCbCr planes go in as they are."""
    from PIL import Image

    layout = frame.layout
    jfif = layout.kind == "yuv" and layout.range == "full" and layout.matrix in ("bt470bg", "smpte170m")
    if jfif and layout.depth == 8:
        # libjpeg takes full-size chroma and averages it down again: repeating samples makes that exact.
        across, down = layout.subsampling
        planes = []
        for k, part in enumerate(layout.components):
            plane = (
                frame.planes[part.plane] if part.index is None else frame.planes[part.plane][..., part.index]
            )
            if k:
                plane = plane.repeat(down, 0).repeat(across, 1)[: layout.height, : layout.width]
            planes.append(Image.fromarray(np.ascontiguousarray(plane)))
        sampling = {(2, 2): "4:2:0", (2, 1): "4:2:2"}.get(layout.subsampling, "4:4:4")
        return Image.merge("YCbCr", planes), sampling
    image = _image(frame)
    if image.mode in ("LA", "RGBA"):
        image = image.convert(image.mode[:-1])  # JPEG has no alpha
    return image, "4:4:4"


def _write_tiff(frame: Frame, source: Path, target: Path) -> None:
    import tifffile

    pixels = np.ascontiguousarray(formats.views(_plain(frame))[0])
    options: dict[str, Any] = {
        "photometric": "minisblack" if frame.layout.kind == "gray" else "rgb",
        "metadata": None,
        "compression": "zlib",
    }
    if frame.layout.alpha is not None:
        options["extrasamples"] = ["unassalpha"]
    if source.suffix.lower() in (".tif", ".tiff") and source.is_file():
        with tifffile.TiffFile(source) as old:
            page = cast(Any, old.pages[0])
            tags = [page.tags[code] for code in _TIFF_TAGS if code in page.tags]
            options["extratags"] = [
                (tag.code, tag.dtype, tag.count, tag.value, True) for tag in tags if tag.code != 305
            ]
            options["software"] = page.tags[305].value if 305 in page.tags else False
            if "extrasamples" in options and page.extrasamples:
                options["extrasamples"] = page.extrasamples[:1]  # whether it is multiplied in
            if page.compression == 1:
                options["compression"] = None
            if 282 in page.tags and 283 in page.tags:
                unit = page.tags[296].value if 296 in page.tags else 2
                options["resolution"] = (page.tags[282].value, page.tags[283].value)
                options["resolutionunit"] = int(unit)
    tifffile.imwrite(target, pixels, **options)
