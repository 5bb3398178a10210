"""The table of known weights: what ships, what the papers' authors publish, what the user has imported.

No torch here: the table comes at once. What a file knows about itself (family, sizes, licence, scores) is
read from its header and stated nowhere else; only files that cannot be here are described by constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vdeblur.errors import InputError
from vdeblur.weights import places
from vdeblur.weights.architecture import recognise
from vdeblur.weights.containers import read_header

PACKAGE_NAMES = (
    "mimo-unet-tiny",
    "mimo-unet-small",
    "mimo-unet",
    "mimo-unet-plus",
    "mimo-unet-plus-plus",
    "deepdeblur",
)
"""Names that mean weights of the package, shipped or not; imports never take them."""
ENSEMBLE = "@ensemble"
"""Behind a name of the mimo-unet family: the mean over four rotations (MIMO-UNet++), four times the work."""
MIMO_PAGE = "https://github.com/chosj95/MIMO-UNet#model"
DEEPDEBLUR_PAGE = "https://github.com/SeungjunNah/DeepDeblur-PyTorch#demo"
MIMO_LICENCE = "none stated: not to be passed on"
DEEPDEBLUR_LICENCE = "not named (code: MIT)"
MIMO_SCORE = "PSNR of RGB in [0,1], unrounded; SSIM as published, definition unknown"
DEEPDEBLUR_SCORE = "PSNR of RGB rounded to 8 bit; SSIM Gaussian 11x11, sigma 1.5"


@dataclass(frozen=True, slots=True)
class Official:
    """A file that its authors publish and that cannot ship here.

    name    what to call it at import
    stands_for   the name of the package that its network goes by
    scores  as published, with what they were measured on and how
    """

    name: str
    file: str
    stands_for: str
    family: str
    parameters: int
    licence: str
    scores: str
    page: str


def _mimo(name: str, file: str, stands_for: str, parameters: int, scores: str) -> Official:
    return Official(name, file, stands_for, "mimo-unet", parameters, MIMO_LICENCE, scores, MIMO_PAGE)


def _deepdeblur(name: str, folder: str, data: str, psnr_db: str, ssim: str) -> Official:
    file = f"{folder}, in it models/model-N.pt"
    scores = f"{data}: {psnr_db} dB / {ssim} ({DEEPDEBLUR_SCORE})"
    return Official(
        name, file, "deepdeblur", "msresnet", 11_721_321, DEEPDEBLUR_LICENCE, scores, DEEPDEBLUR_PAGE
    )


OFFICIAL = (
    _mimo(
        "mimo-unet-gopro",
        "MIMO-UNet.pkl",
        "mimo-unet",
        6_807_171,
        f"GoPro test, linear blur: 31.73 dB / 0.951 ({MIMO_SCORE})",
    ),
    _mimo(
        "mimo-unet-plus-gopro",
        "MIMO-UNetPlus.pkl",
        "mimo-unet-plus",
        16_107_651,
        f"GoPro test, linear blur: 32.45 dB / 0.957, with {ENSEMBLE} 32.68 dB / 0.959 ({MIMO_SCORE})",
    ),
    _mimo(
        "mimo-unet-plus-realblur",
        "MIMO-UNet+ for RealBlur (trained on GoPro and RealBlur-J)",
        "mimo-unet-plus",
        16_107_651,
        "none on its page",
    ),
    _deepdeblur("deepdeblur-gopro", "GOPRO_L1", "GOPRO_Large test, gamma blur", "30.40", "0.9018"),
    _deepdeblur("deepdeblur-reds", "REDS_L1", "REDS validation", "32.89", "0.9207"),
    _deepdeblur("deepdeblur-gopro-amp", "GOPRO_L1_amp", "GOPRO_Large test, gamma blur", "30.42", "0.9021"),
    _deepdeblur("deepdeblur-reds-amp", "REDS_L1_amp", "REDS validation", "32.95", "0.9209"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `vdeblur weights list`.

    page    where the official file is, and its name; for imports where it came from
    here    whether `--model NAME` works now
    """

    name: str
    family: str
    parameters: int | None
    licence: str
    scores: str
    page: str
    here: bool


def rows() -> list[Row]:
    """All known weights: those of the package, the official files, and what else was imported."""
    shipped, imported = places.shipped(), places.imported()
    found = [_of_package(name, shipped[name]) for name in PACKAGE_NAMES if name in shipped]
    found += [_of_official(official, imported.get(official.name)) for official in OFFICIAL]
    known = {row.name for row in found}
    return found + [_of_import(name, path) for name, path in imported.items() if name not in known]


def official_for(name: str) -> list[Official]:
    """The official files whose network goes by a name of the package; ++ is the ensemble of +."""
    wanted = "mimo-unet-plus" if name == "mimo-unet-plus-plus" else name
    return [official for official in OFFICIAL if official.stands_for == wanted]


def best_available(device_kind: str) -> str:
    """What `--model auto` means: `mimo-unet` on a GPU where its weights are here, else the small one.

    Raises InputError where the package has lost its weights.
    """
    wanted = ("mimo-unet-small", "mimo-unet-tiny", "mimo-unet")
    if device_kind in ("cuda", "mps"):
        wanted = ("mimo-unet", "mimo-unet-small", "mimo-unet-tiny")
    shipped = places.shipped()
    for name in wanted:
        if name in shipped:
            return name
    raise InputError(
        f"--model auto: no weights in {places.package_folder()}; install vdeblur again, or name imported ones"
    )


def _of_package(name: str, path: Path) -> Row:
    family, parameters, facts = _facts(path)
    licence = facts.get("license", "Apache-2.0")
    scores = _card_scores(path.with_suffix(".md"))
    return Row(name, family, parameters, licence, scores, "ships with vdeblur", True)


def _of_official(o: Official, path: Path | None) -> Row:
    """The published facts; where other weights were imported under the name, theirs."""
    if path is not None and _facts(path)[:2] != (o.family, o.parameters):
        return _of_import(o.name, path)
    where = f"{o.file}: {o.page}"
    return Row(o.name, o.family, o.parameters, o.licence, o.scores, where, path is not None)


def _of_import(name: str, path: Path) -> Row:
    family, parameters, facts = _facts(path)
    licence = facts.get("license", "as its author says")
    return Row(name, family, parameters, licence, facts.get("scores", ""), facts.get("source", ""), True)


def _facts(path: Path) -> tuple[str, int | None, dict[str, str]]:
    """Family, parameters and metadata; a broken file is a row that says so, not the end of the table."""
    try:
        header = read_header(path)
        return recognise(header.shapes, path).family, header.parameters, dict(header.metadata)
    except InputError as error:
        return "broken file", None, {"scores": str(error)}


def _card_scores(card: Path) -> str:
    """What stands behind "Scores:" in a model card, on one line."""
    lines = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    found = (line.removeprefix("Scores:").strip() for line in lines if line.startswith("Scores:"))
    return next(found, "see its card")
