"""A training recipe from a flat TOML file: every key is a setting, an unknown key is an error.

Keys are the names of `Settings`, those of the network (`start`, or `family`, `channels`, `blocks`, `stem`,
`dropout`), and those of `synthesis.BlurSettings` with `blur_` in front. Folders are given at the command
line, not in the file. Recipes that come with vdeblur are known by their bare names.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from vdeblur.data.synthesis import BlurSettings
from vdeblur.errors import InputError
from vdeblur.learn.settings import Settings

if TYPE_CHECKING:
    from vdeblur.models.mimo_unet import MimoUNet
    from vdeblur.models.msresnet import MSResNet


Family = Literal["mimo-unet", "deepdeblur"]
Stem = Literal["full", "half"]
SHIPPED = Path(__file__).parent / "configs"  # to which a link at the checkout's root leads


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Weights to start from, which know their own sizes; or the sizes of a network with random weights.

    start      a name of `vdeblur weights list` or a weights file; "": random weights
    dropout    of mimo-unet, in training only (the published MIMO-UNet+: 0.1)
    """

    start: str = ""
    family: Family = "mimo-unet"
    channels: int = 32
    blocks: int = 8
    stem: Stem = "full"
    dropout: float = 0.0

    def check(self, origin: str) -> None:
        """InputError, naming `origin`, for a value that no network can have."""
        for key, value, known in (
            ("family", self.family, get_args(Family)),
            ("stem", self.stem, get_args(Stem)),
        ):
            if value not in known:
                raise InputError(f"{origin}: {key} is {value!r}; choose {', '.join(known)}")
        if min(self.channels, self.blocks) < 1 or not 0 <= self.dropout < 1:
            raise InputError(f"{origin}: channels and blocks must be 1 at least, dropout lie in [0, 1)")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a file of settings says: the network, and the run without its folders."""

    network: NetworkSettings
    settings: Settings

    def make_network(self) -> MimoUNet | MSResNet:
        """The network that this run begins with; random weights are drawn with the run's seed.

        Raises InputError for weights that are not here, or cannot be trained.
        """
        import torch

        from vdeblur.models.mimo_unet import MimoUNet
        from vdeblur.models.msresnet import MSResNet

        n = self.network
        if n.start:
            return _started(n)
        torch.manual_seed(self.settings.seed)
        if n.family == "deepdeblur":
            return MSResNet(n.channels, n.blocks)
        return MimoUNet(n.channels, n.blocks, n.stem, n.dropout)


def shipped() -> dict[str, Path]:
    """The recipes that come with vdeblur, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def find_recipe(named: Path) -> Path:
    """The file of that name, else the recipe that comes with vdeblur; InputError where there is neither."""
    known = shipped()
    if named.exists():
        return named
    if str(named) in known:
        return known[str(named)]
    near = difflib.get_close_matches(named.stem, known, 1)
    hint = f"did you mean {near[0]}, which comes with vdeblur" if near else f"known are {', '.join(known)}"
    raise InputError(f"{named}: no such file or recipe; {hint}{'?' if near else ''}")


def summary(recipe: Path) -> str:
    """What a recipe says first of itself."""
    with recipe.open(encoding="utf-8") as lines:
        return lines.readline().strip("# \n").rstrip(".:")


def read_recipe(path: Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe in a TOML file, with single settings changed by options.

    Raises:
        InputError: no such file, no TOML, or a key or a value that the settings do not know; it names the
            options beside the file, as either may be at fault.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: does not open ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: is no TOML ({error})") from error
    changes = changes or {}
    options = "".join(f" --{key.replace('_', '-')} {value}" for key, value in changes.items())
    return make_recipe({**values, **changes}, f"{path}{options and ' with'}{options}")


def make_recipe(values: Mapping[str, Any], origin: str) -> Recipe:
    """Sort flat values to where they belong; InputError, naming `origin`, for what no run can have."""
    network, settings, motion = NetworkSettings(), Settings(), BlurSettings()
    known: dict[str, tuple[Any, str]] = {}
    for record, prefix in ((network, ""), (settings, ""), (motion, "blur_")):
        known |= {prefix + f.name: (record, f.name) for f in fields(record) if f.name != "motion"}
    changed: dict[int, dict[str, Any]] = {id(record): {} for record in (network, settings, motion)}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=2)
            names = " or ".join(near) or ", ".join(name for name in known if not name.startswith("blur_"))
            said = "did you mean" if near else "known are"
            raise InputError(f"{origin}: there is no setting {key!r}; {said} {names}{'?' if near else ''}")
        record, name = known[key]
        changed[id(record)][name] = _fitting(value, getattr(record, name), f"{origin}: {key}")
    network = replace(network, **changed[id(network)])
    network.check(origin)
    settings = replace(settings, **changed[id(settings)], motion=replace(motion, **changed[id(motion)]))
    settings.check(origin)
    return Recipe(network, settings)


def changes(words: Iterable[str]) -> dict[str, Any]:
    """key=value words as TOML would read them; a value that is none is text."""
    result: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        try:
            read = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            read = value
        result[key] = value if isinstance(read, (date, time)) else read  # clips may be named by their day
    return result


def _fitting(value: Any, example: Any, what: str) -> Any:
    """The value in the type of the setting's default, or InputError."""
    if isinstance(example, float) and type(value) is int:
        return float(value)
    if isinstance(example, tuple):
        members = (
            value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
        )
        if what.endswith("milestones"):
            if all(type(member) is int for member in members):
                return tuple(members)
            raise InputError(f"{what} is {value!r}; give steps, as [1000, 2000]")
        if all(type(member) in (str, int) for member in members):
            return tuple(map(str, members))  # clips are often named by numbers
        raise InputError(f"{what} is {value!r}; give beginnings of clips' names, as val/000,val/001")
    if type(value) is type(example):
        return value
    wanted = "text" if example == "" else f"a value like {example!r}"
    raise InputError(f"{what} is {value!r}; expected {wanted}")


def _started(n: NetworkSettings) -> MimoUNet | MSResNet:
    """The network of a weights file, ready to be trained."""
    from vdeblur.models.mimo_unet import MimoUNet
    from vdeblur.models.msresnet import MSResNet
    from vdeblur.weights import store
    from vdeblur.weights.loading import load_network

    file = Path(n.start).expanduser()
    network = load_network(file if file.is_file() else store.find(n.start, "--start")).network
    assert isinstance(network, (MimoUNet, MSResNet))  # an ensemble is never asked for here
    if isinstance(network, MimoUNet):
        network.dropout = n.dropout
    return network.requires_grad_(True)
