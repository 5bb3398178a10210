"""`vdeblur weights`: networks with weights, those of the package and your own."""

from __future__ import annotations

from pathlib import Path

from vdeblur.cli.options import Parser
from vdeblur.cli.values import size


def weights(words: list[str]) -> int:
    parser = Parser("vdeblur weights", "Networks with weights: what is known, what is here, how to get more.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|import|export|remove")
    actions.add_parser("list", help="the table of known weights")
    fetch = actions.add_parser("import", help="take an official or own weights file into your data folder")
    fetch.add_argument("source", metavar="FILE_OR_URL")
    fetch.add_argument("--name", required=True, help="the name for --model")
    export = actions.add_parser("export", help="write a network as ONNX")
    export.add_argument("name", metavar="NAME_OR_FILE")
    export.add_argument("--onnx", type=Path, required=True, metavar="FILE")
    export.add_argument("--size", type=size, default=(360, 640), metavar="WxH", help="default 640x360")
    remove = actions.add_parser("remove", help="delete imported weights")
    remove.add_argument("name")
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
