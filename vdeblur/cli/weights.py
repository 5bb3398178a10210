"""`vdeblur weights`: networks with weights, those of the package and your own."""

from __future__ import annotations

from pathlib import Path

from vdeblur.cli.options import Parser
from vdeblur.cli.values import size


def weights(words: list[str]) -> int:
    parser = Parser("vdeblur weights", "Networks with weights: what is known, what is here, how to get more.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|import|export|remove")

    def action(name: str, what: str) -> Parser:
        return actions.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")

    action("list", "the table of known weights")
    fetch = action("import", "take an official or own weights file into your data folder")
    fetch.add_argument("source", metavar="FILE_OR_URL", help=".safetensors, .pt, .pth or .pkl")
    fetch.add_argument("--name", required=True, help="the name for --model")
    export = action("export", "write a network as ONNX")
    export.add_argument("name", metavar="NAME_OR_FILE", help="as for --model, or a weights file")
    export.add_argument("--onnx", type=Path, required=True, metavar="FILE", help="the file to write")
    export.add_argument(
        "--size", type=size, default=(360, 640), metavar="WxH", help="of its pictures (default 640x360)"
    )
    remove = action("remove", "delete imported weights")
    remove.add_argument("name", metavar="NAME", help="as it was imported")
    asked = parser.parse_args(words)
    from vdeblur.cli import progress, show
    from vdeblur.weights import catalogue, store

    if asked.action == "list":
        show.weights(catalogue.rows())
    elif asked.action == "import":
        with progress.counting("MB") as tell:
            stored = store.import_weights(
                asked.source,
                asked.name,
                lambda done, total: tell(asked.name, done // 10**6, total and total // 10**6),
            )
        show.pairs(stored.describe())
    elif asked.action == "remove":
        print(store.remove(asked.name))
    else:
        print(store.export_onnx(asked.name, asked.onnx, *asked.size))
    return 0
