"""A folder on a web server of this machine, which remembers what was asked for."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Server:
    """`address` is the machine and its port; `asked` grows."""

    address: str
    asked: list[str]


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Until the end of the block."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words: object) -> None:
            super().__init__(*words, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *words: object) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield Server(f"127.0.0.1:{server.server_port}", asked)
        finally:
            server.shutdown()
            thread.join()
