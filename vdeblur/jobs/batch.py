"""Several sources, or a folder of videos: which runs they stand for, and where each result goes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vdeblur.errors import InputError
from vdeblur.jobs.identity import options_of
from vdeblur.jobs.journal import folder_of
from vdeblur.jobs.plan import Options
from vdeblur.jobs.records import MANIFEST, read_manifest
from vdeblur.video import pictures
from vdeblur.video.names import VIDEOS, files_below, is_picture, is_result, is_video


@dataclass(frozen=True, slots=True)
class Item:
    """One source; its result goes to `target`, into `folder`, or (both None) beside the source."""

    source: str
    target: Path | None = None
    folder: Path | None = None


def expand(sources: Iterable[str], output: Path | None) -> list[Item]:
    """The runs that the sources on the command line stand for.

    One file: one item with `output` as its target, or into it where it is a folder. Several, or a folder of
    videos: `output` is a folder in which the tree below each source folder is kept; what is in it already is
    no source, nor is what an earlier run made of another one (`vdeblur *.mp4`, twice). A folder of pictures
    is one item. Raises InputError for a folder with neither.
    """
    sources = list(sources)
    stems = {Path(source).with_name(Path(source).stem) for source in sources if Path(source).stem}
    sources = [source for source in sources if not _is_made_of(Path(source), stems)]
    folders = {
        s: _videos_below(Path(s), output) for s in sources if Path(s).is_dir() and not pictures.is_pictures(s)
    }
    for folder, videos in folders.items():
        if not videos:
            raise InputError(f"{folder}: {_without_videos(Path(folder))}")
    if len(sources) == 1 and not folders:
        return [Item(sources[0], target=output)]
    if output is not None and not output.is_dir():
        if output.exists():
            raise InputError(f"-o {output}: must be a folder for several inputs, and this is a file")
        if output.suffix.lower() in VIDEOS:
            raise InputError(f"-o {output}: must be a folder for several inputs, not the name of a video")
    items: list[Item] = []
    for source in sources:
        if source not in folders:
            items.append(Item(source, folder=output))
            continue
        for video in folders[source]:
            inside = None if output is None else output / video.parent.relative_to(source)
            items.append(Item(str(video), folder=inside))
    return items


def unfinished(folder: Path) -> tuple[list[tuple[Item, Options]], list[InputError]]:
    """What was asked of every run below the folder that has left a journal, and journals of no use.

    Raises InputError where there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found: list[tuple[Item, Options]] = []
    useless: list[InputError] = []

    def closed(error: OSError) -> None:
        useless.append(InputError(f"{error.filename}: cannot be read ({error.strerror})"))

    places = (Path(place) for place, _, names in os.walk(folder, onerror=closed) if MANIFEST in names)
    for journal in sorted(place for place in places if place.suffix == ".vdeblur"):
        try:
            found.append(_run_of(journal))
        except InputError as error:
            useless.append(error)
    return found, useless


def _run_of(journal: Path) -> tuple[Item, Options]:
    head = read_manifest(journal)
    inside = head["target"] == pictures.INSIDE
    target = journal.parent if inside else journal.parent / head["target"]
    # Beside its journal and nowhere else, whatever a manifest may say.
    if folder_of(journal.parent / head["target"]) != journal:
        raise InputError(f"{journal}: is not the journal of {head['target']}; rename it back")
    options = options_of(head["options"])
    if target.is_file() and options.keep_partial and not options.overwrite:
        raise InputError(
            f"{target}: holds what was done when its run was stopped; the same command as then finishes it, "
            "with --overwrite"
        )
    return Item(head["source"], target=target), options


def _is_made_of(path: Path, stems: set[Path]) -> bool:
    """Whether it has the name of a result of one of these sources, given without their suffixes."""
    stem, mark, _ = path.name.partition(".deblurred.")
    return bool(stem and mark) and path.with_name(stem) in stems


def _without_videos(folder: Path) -> str:
    """What to say of a folder that is no source."""
    below = sorted({path.parent for path in files_below(folder) if is_picture(path)})
    if not below:
        return "a folder without videos or pictures"
    return f"the pictures are in folders below it; name these, such as {below[0]}"


def _videos_below(folder: Path, output: Path | None) -> list[Path]:
    """All but hidden ones, results of earlier runs, and what lies in the folder for results.

    Folders that cannot be read are among them: they fail in their turn, and by their names.
    """
    results = None if output is None or output.resolve() == folder.resolve() else output.resolve()
    closed: list[Path] = []
    files = files_below(folder, lambda error: closed.append(Path(error.filename)))
    return closed + sorted(
        path
        for path in files
        if is_video(path)
        and path.is_file()
        and not is_result(path)
        and (results is None or results not in path.resolve().parents)
    )
