"""Pictures in and out under the same names: every format keeps what it can hold."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from video import media

from vdeblur.errors import InputError
from vdeblur.frame import Fate, Frame
from vdeblur.video.clip import Clip
from vdeblur.video.picture_files import write_png
from vdeblur.video.pictures import (
    PictureWriter,
    check_target,
    default_target,
    is_pictures,
    read_pictures,
)
from vdeblur.video.probing import probe


def scene(height: int = 33, width: int = 47, channels: int = 3) -> np.ndarray:
    """A smooth colour picture of odd size."""
    y, x = np.mgrid[0:height, 0:width]
    parts = [127 + 100 * np.sin(x / (7 + 2 * c) + c) * np.cos(y / (9 - c)) for c in range(channels)]
    return np.stack(parts, -1).round().astype(np.uint8)


def write(name: Path, picture: np.ndarray, **options: object) -> Path:
    Image.fromarray(picture.squeeze()).save(name, **options)
    return name


def write_wide_png(path: Path, pix_fmt: str = "rgb48be") -> Path:
    """16 bits a sample: Pillow cannot, FFmpeg can."""
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt, context.time_base = 47, 33, pix_fmt, Fraction(1, 25)
    frame = media.new_frame(pix_fmt.replace("be", "le"), 47, 33).reformat(format=pix_fmt)
    frame.pts = 0
    path.write_bytes(b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)]))
    return path


def writer_for(target: Path, clip: Clip) -> PictureWriter:
    return PictureWriter(target, clip, parts=target.with_name(".parts"))


def through(source: Path, target: Path) -> tuple[Frame, Frame]:
    """Read, write unchanged, read again: (frame, what became of it)."""
    clip = probe(str(source))
    writer = writer_for(target, clip)
    (frame,) = read_pictures(clip)
    writer.write(frame)
    assert not target.exists()  # not before it is whole
    assert writer.finish() == target
    (again,) = read_pictures(probe(str(target)))
    return frame, again


def alike(a: Frame, b: Frame) -> int:
    """The greatest difference of a sample."""
    assert (a.layout.name, a.layout.width, a.layout.height) == (
        b.layout.name,
        b.layout.width,
        b.layout.height,
    )
    return max(int(np.abs(x.astype(int) - y).max()) for x, y in zip(a.planes, b.planes, strict=True))


LOSSLESS = {
    "rgb.png": lambda p: write(p, scene()),
    "gray.png": lambda p: write(p, scene(channels=1)),
    "rgba.png": lambda p: write(p, scene(channels=4)),
    "gray_alpha.png": lambda p: write(p, scene(channels=2)),
    "rgb16.png": write_wide_png,
    "rgba16.png": lambda p: write_wide_png(p, "rgba64be"),
    "gray16.png": lambda p: write_wide_png(p, "gray16be"),
    "rgb.tif": lambda p: write(p, scene()),
    "lzw.tiff": lambda p: write(p, scene(), compression="tiff_lzw"),
    "rgba.tif": lambda p: write(p, scene(channels=4)),
    "gray.tif": lambda p: write(p, scene(channels=1)),
    "gray16.tif": lambda p: write(p, scene(channels=1).astype(np.uint16) * 257),
    "rgb.bmp": lambda p: write(p, scene()),
    "rgb.webp": lambda p: write(p, scene(), lossless=True),
    "rgba.webp": lambda p: write(p, scene(channels=4), lossless=True),
}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_come_back_bit_identical(name: str, tmp_path: Path) -> None:
    source = LOSSLESS[name](tmp_path / name)
    frame, again = through(source, tmp_path / f"out_{name}")
    assert alike(frame, again) == 0
    assert (frame.layout.depth == 16) == ("16" in name)
    assert (frame.layout.alpha is not None) == ("rgba" in name or "alpha" in name)
    assert frame.layout.range == "full"


@pytest.mark.parametrize(
    ("sampling", "pix_fmt"), [(0, "yuvj444p"), (1, "yuvj422p"), (2, "yuvj420p"), (None, "gray")]
)
def test_jpeg_keeps_its_subsampling(sampling: int | None, pix_fmt: str, tmp_path: Path) -> None:
    options = {} if sampling is None else {"subsampling": sampling}
    source = write(tmp_path / "a.jpg", scene(channels=1 if sampling is None else 3), quality=95, **options)
    frame, again = through(source, tmp_path / "b.jpg")
    assert frame.layout.name == pix_fmt
    assert alike(frame, again) <= 3  # quality 95 once more
    if sampling is not None:
        assert frame.layout.matrix == "bt470bg"


def test_metadata_stays(tmp_path: Path) -> None:
    from PIL import ImageCms
    from PIL.PngImagePlugin import PngInfo

    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    kept = {"exif": exif, "icc_profile": icc, "dpi": (300, 300)}
    text = PngInfo()
    text.add_text("Title", "a picture")
    for name, extra in {
        "a.jpg": {"comment": b"hello"},
        "a.png": {"pnginfo": text},
        "a.webp": {"lossless": True},
    }.items():
        source = write(tmp_path / name, scene(), **kept, **extra)
        through(source, tmp_path / f"out_{name}")
        with Image.open(source) as old, Image.open(tmp_path / f"out_{name}") as new:
            for key in ("exif", "icc_profile", "dpi", "comment", "Title"):
                assert old.info.get(key) == new.info.get(key), (name, key)
            assert new.getexif()[0x0112] == 6
    # The picture is not turned: orientation stays a tag.
    assert probe(str(tmp_path / "a.jpg")).picture.layout.width == 47
    assert probe(str(tmp_path / "a.jpg")).picture.rotation == -90

    import tifffile

    tifffile.imwrite(
        tmp_path / "a.tif", scene(), resolution=(300, 300), iccprofile=icc, description="hi", metadata=None
    )
    through(tmp_path / "a.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as new:
        tags = new.pages[0].tags
        assert (tags[282].value, tags[270].value, tags[34675].value) == ((300, 1), "hi", icc)


@pytest.mark.parametrize("kind", [1, 2])
def test_tiff_says_still_whether_alpha_is_multiplied_in(kind: int, tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", scene(channels=4), photometric="rgb", extrasamples=[kind])
    through(tmp_path / "a.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as new:
        assert new.pages[0].extrasamples == (kind,)


def test_palettes_become_rgb_and_alpha_only_where_it_is_used(tmp_path: Path) -> None:
    Image.fromarray(scene()).quantize(16).save(tmp_path / "p.png")
    assert probe(str(tmp_path / "p.png")).picture.layout.name == "rgb24"
    Image.fromarray(scene()).quantize(16).save(tmp_path / "t.png", transparency=3)
    assert probe(str(tmp_path / "t.png")).picture.layout.alpha is not None


def test_another_format_by_the_name_of_the_target(tmp_path: Path) -> None:
    source = write(tmp_path / "a.png", scene())
    clip = probe(str(source))
    (frame,) = read_pictures(clip)
    for name in ("b.jpg", "b.tif", "b.bmp", "b.webp"):
        writer = writer_for(tmp_path / name, clip)
        writer.write(frame)
        writer.finish()
        with Image.open(tmp_path / name) as image:
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - scene()).max() < 12
    yuv = probe(str(tmp_path / "b.jpg"))
    writer = writer_for(tmp_path / "c.png", yuv)
    writer.write(next(iter(read_pictures(yuv))))
    writer.finish()
    with Image.open(tmp_path / "c.png") as a, Image.open(tmp_path / "b.jpg") as b:
        assert np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 3


# -- sets of pictures


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    folder = tmp_path / "shots"
    folder.mkdir()
    for number in (10, 2, 1):
        write(folder / f"img{number}.png", scene() + number)
    write(folder / "wide.jpg", scene(20, 60))
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden.png").write_text("nor this")
    return folder


def names(clip: Clip) -> list[str]:
    return [Path(path).name for path in clip.pictures]


def test_folders_and_patterns_in_natural_order(shots: Path) -> None:
    assert names(probe(str(shots))) == ["img1.png", "img2.png", "img10.png", "wide.jpg"]
    assert names(probe(str(shots / "*.png"))) == ["img1.png", "img2.png", "img10.png"]
    assert names(probe(str(shots / "img%d.png"))) == ["img1.png", "img2.png", "img10.png"]
    assert names(probe(str(shots / "img2.png"))) == ["img2.png"]
    with pytest.raises(InputError, match="no picture fits"):
        probe(str(shots / "*.bmp"))
    with pytest.raises(InputError, match="no such file"):
        probe(str(shots / "none.png"))


def test_a_folder_goes_through_whatever_the_sizes(shots: Path) -> None:
    clip = probe(str(shots))
    target = default_target(clip)
    assert target == shots.with_name("shots.deblurred")
    check_target(clip, target)
    writer = writer_for(target, clip)
    frames = list(read_pictures(clip))
    assert [(f.layout.width, f.index, f.pts) for f in frames] == [
        (47, 0, 0),
        (47, 1, 1),
        (47, 2, 2),
        (60, 3, 3),
    ]
    for frame in frames:
        writer.write(frame)
    assert not target.exists()
    assert writer.finish() == target
    assert sorted(p.name for p in target.iterdir()) == sorted(names(clip))
    assert alike(frames[2], next(iter(read_pictures(probe(str(target / "img10.png")))))) == 0
    with pytest.raises(InputError, match="exists already"):
        check_target(clip, target)
    check_target(clip, target, overwrite=True)


@pytest.mark.parametrize("fate", [Fate.PASSED, Fate.REFUSED])
def test_what_the_engine_let_pass_is_copied(fate: Fate, tmp_path: Path) -> None:
    """A JPEG that is coded anew for nothing would only be worse."""
    source = write(tmp_path / "a.jpg", scene(), quality=70)
    clip = probe(str(source))
    writer = writer_for(tmp_path / "b.jpg", clip)
    writer.write(dataclasses.replace(next(iter(read_pictures(clip))), fate=fate))
    assert writer.finish().read_bytes() == source.read_bytes()


def test_targets_that_are_refused(shots: Path, tmp_path: Path) -> None:
    several, one = probe(str(shots)), probe(str(shots / "img1.png"))
    (tmp_path / "file").touch()
    for clip, target, words in (
        (several, shots, "same picture"),
        (several, tmp_path / "file", "is a file"),
        (several, tmp_path / "none" / "out", "does not exist"),
        (one, shots / "img1.png", "same picture"),
        (one, shots / "img2.png", "exists already"),
        (one, tmp_path / "a.mp4", "not the name of a picture"),
        (one, tmp_path / "none" / "a.png", "does not exist"),
    ):
        with pytest.raises(InputError, match=words):
            check_target(clip, target)
    check_target(one, tmp_path / "new.png")
    check_target(one, tmp_path)  # a folder for one picture: its own name
    assert default_target(one) == shots / "img1.deblurred.png"


def test_what_counts_as_pictures(shots: Path, tmp_path: Path) -> None:
    assert is_pictures(str(shots))
    assert is_pictures(str(shots / "*.png"))
    assert is_pictures("somewhere/a.JPG")
    for other in ("a.mp4", "-", "http://host/a.png", str(tmp_path / "nothing"), str(tmp_path)):
        assert not is_pictures(other)
    media.make("plain", shots)  # a video among pictures: a folder of videos
    assert not is_pictures(str(shots))


def test_damaged_and_foreign_pictures_are_refused(tmp_path: Path) -> None:
    for name, extra in {"a.jpg": {}, "a.png": {}, "a.tif": {}, "p.jpg": {"progressive": True}}.items():
        source = write(tmp_path / name, scene(200, 300), **extra)
        media.cut_off(source, tmp_path / f"cut_{name}", 0.6)
        with pytest.raises(InputError, match="damaged"):
            probe(str(tmp_path / f"cut_{name}"))
    Image.fromarray(scene()).convert("CMYK").save(tmp_path / "cmyk.jpg")
    with pytest.raises(InputError, match="CMYK"):
        probe(str(tmp_path / "cmyk.jpg"))
    frames = [Image.fromarray(scene()), Image.fromarray(255 - scene())]
    for name in ("moving.png", "moving.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(InputError, match="animated"):
            probe(str(tmp_path / name))
    frames[0].save(tmp_path / "pages.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="2 pages"):
        probe(str(tmp_path / "pages.tif"))
    (tmp_path / "text.png").write_text("not a picture at all")
    with pytest.raises(InputError, match="not a picture"):
        probe(str(tmp_path / "text.png"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_write_png(dtype: type, tmp_path: Path) -> None:
    picture = scene().astype(dtype) * (257 if dtype is np.uint16 else 1)
    for pixels in (picture, picture[..., 0]):
        write_png(tmp_path / "a.png", pixels)
        (frame,) = read_pictures(probe(str(tmp_path / "a.png")))
        np.testing.assert_array_equal(frame.planes[0], pixels)


def test_large_jpegs_open_whatever_their_name(tmp_path: Path) -> None:
    """FFmpeg takes small JPEGs by their content, large ones by their suffix and as a series of pictures."""
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    for number, name in enumerate(["a.jpg", "b.jpeg", "shot_%03d.jpg", "shot_001.jpg"]):
        Image.fromarray(np.roll(noise, number * 100, 1)).save(tmp_path / name, quality=90)
    clip = probe(str(tmp_path))
    assert len(clip.pictures) == 4
    for path, frame in zip(clip.pictures, read_pictures(clip), strict=True):
        with Image.open(path) as picture:
            expected = np.asarray(picture.convert("L"), int)
        assert np.abs(frame.planes[0].astype(int) - expected).mean() < 2
