"""What a run's frames depend on, as words that can be compared: source, options, weights, versions.

Two runs for which all of it is equal give the same frames, so that one can go on where the other was
stopped.  Options can be written down and read back, for `vdeblur resume`.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from typing import Any

from vdeblur import __version__
from vdeblur.errors import InputError
from vdeblur.jobs.plan import Options, Plan
from vdeblur.video import ffmpeg
from vdeblur.video.names import without_scheme
from vdeblur.video.segments import Rule
from vdeblur.video.source import is_url

_WHOLE = 1 << 28  # files up to this size are read through, of larger ones samples
_SAMPLES, _SAMPLE = 64, 1 << 16
# These change what becomes of the result, not its frames; the weights are compared by what is in them, and
# a quality by what it stands for.
_NO_MATTER = {
    *("keep_partial", "verify", "overwrite", "restart", "keep_journal", "memory"),
    *("model", "weights", "quality"),
}


def can_be_read_again(plan: Plan) -> bool:
    """Whether a later run finds the same source: a file, and no pipe, device or address."""
    source = plan.clip.source
    if plan.clip.pictures:
        return True
    return source != "-" and not is_url(source) and path_of(source).is_file()


def path_of(source: str) -> Path:
    return Path(without_scheme(source))


def made_with(plan: Plan, rule: Rule) -> dict[str, str]:
    """All that shapes the frames of the result; what follows from the rest comes last.

    Keys that begin with "the " have values for nobody to read.
    """
    pictures = plan.clip.pictures
    source = _fingerprint_of_many(pictures) if pictures else fingerprint(path_of(plan.clip.source))
    found = {"the source": source}
    for name, value in plain_options(plan.options).items():
        if name not in _NO_MATTER:
            found["--" + name.replace("_", "-").removesuffix("s")] = _word(value)
    if plan.weights is not None:
        found["--model"] = plan.weights.name
        found["the weights file"] = fingerprint(plan.weights.path)
        decision = plan.decision()
        if decision is not None:  # one that will be made is there when the run goes on
            found["the int8 graph"] = "there" if decision.int8 or plan.makes_int8 else "none"
    if plan.options.encoder == "ffmpeg":
        found["your ffmpeg"] = ffmpeg.version_of(ffmpeg.find_binary())
    found["length of segments"] = f"{rule.seconds} s and {rule.frames} frames"
    found["vdeblur"] = __version__
    for name in ("av", "torch", "openvino"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if plan.output is not None:
        out = plan.output
        words = [f"{key}={value}" for key, value in sorted(out.options.items())]
        found["encoding"] = " ".join([out.encoder, out.pix_fmt, "in", out.container, *words])
    return found


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "given" if value else "not given"
    if isinstance(value, tuple):
        return " ".join(f"{key}={what}" for key, what in value) or "not given"
    return "not given" if value is None else str(value)


def fingerprint(path: Path) -> str:
    """Of a file: its size, and a digest of all of it, or for a large one of samples and its date."""
    state = path.stat()
    found = blake2b(digest_size=16)
    with path.open("rb") as file:
        if state.st_size <= _WHOLE:
            while block := file.read(1 << 20):
                found.update(block)
        else:
            for number in range(_SAMPLES):
                file.seek((state.st_size - _SAMPLE) * number // (_SAMPLES - 1))
                found.update(file.read(_SAMPLE))
            found.update(str(state.st_mtime_ns).encode())
    return f"{state.st_size} bytes, {found.hexdigest()}"


def _fingerprint_of_many(files: tuple[str, ...]) -> str:
    """Of pictures: how many, and a digest of their names, sizes and dates."""
    found = blake2b(digest_size=16)
    for name in files:
        state = Path(name).stat()
        found.update(f"{Path(name).name} {state.st_size} {state.st_mtime_ns}\n".encode(errors="replace"))
    return f"{len(files)} pictures, {found.hexdigest()}"


def plain_options(options: Options) -> dict[str, Any]:
    """As values for JSON; `options_of` reads them back."""
    plain = dataclasses.asdict(options)
    for name, value in plain.items():
        if isinstance(value, Fraction):
            plain[name] = str(value)
        elif isinstance(value, Path):
            plain[name] = str(value.absolute())
    return plain


def options_of(plain: Any) -> Options:
    """Raises InputError where it is not what `plain_options` gives."""
    try:
        values = dict(plain)
        for name in ("start", "end"):
            if values[name] is not None:
                values[name] = Fraction(values[name])
        if values["weights"] is not None:
            values["weights"] = Path(values["weights"])
        values["encoder_options"] = tuple((str(k), str(v)) for k, v in values["encoder_options"])
        return Options(**values)
    except (TypeError, ValueError, KeyError, ZeroDivisionError) as error:
        raise InputError(f"these are no options of a run ({error})") from error
