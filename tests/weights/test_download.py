"""Weights by address: fetched whole, gone on with after a break, refused in one line."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from weights.files import mimo_state, write_torch

from vdeblur.errors import InputError, VdeblurError
from vdeblur.weights import places, store
from vdeblur.weights.containers import read_header
from vdeblur.weights.loading import load_network


class Site(BaseHTTPRequestHandler):
    """/w.pkl whole or by range, half of it while `breaks_left`; /page.html; /busy/NNN says NNN; else 404."""

    content = b""
    etag = '"1"'
    ranges: list[str | None]
    statuses: list[int]
    breaks_left = 0

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        type(self).ranges.append(asked)
        if self.path.startswith("/page"):
            self.answer(200, b"<html>scan warning</html>", "text/html; charset=utf-8")
        elif self.path.startswith("/busy"):
            self.answer(int(self.path[-3:]), b"", "text/plain")
        elif not self.path.startswith("/w.pkl"):
            self.answer(404, b"", "text/plain")
        elif asked and self.headers["If-Range"] == self.etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            whole = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
            self.answer(206, self.content[start:], "application/octet-stream", whole)
        else:
            self.answer(200, self.content, "application/octet-stream")

    def answer(self, status: int, body: bytes, kind: str, content_range: str | None = None) -> None:
        type(self).statuses.append(status)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", self.etag)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        if type(self).breaks_left and status < 300:
            type(self).breaks_left -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, type[Site]]]:
    content = write_torch(tmp_path / "w.pkl", {"model": mimo_state()}, legacy=True).read_bytes()
    kind = type("OneSite", (Site,), {"content": content, "ranges": [], "statuses": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", kind
    server.shutdown()
    thread.join()
    server.server_close()


def leftovers() -> list[str]:
    return sorted(path.suffix for path in (places.data_folder() / "downloads").glob("*"))


def test_import_by_address(site: tuple[str, type[Site]]) -> None:
    address, kind = site
    seen: list[tuple[int, int | None]] = []
    url = f"{address}/w.pkl?token=secret"
    stored = store.import_weights(url, "mine", lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, len(kind.content))
    assert seen[-1] == (len(kind.content), len(kind.content))
    assert stored.source == f"{address}/w.pkl"
    assert "secret" not in str(dict(read_header(stored.path).metadata))
    assert leftovers() == []


def test_a_broken_download_goes_on(site: tuple[str, type[Site]]) -> None:
    address, kind = site
    kind.breaks_left = 1
    with pytest.raises(VdeblurError, match="the same command goes on from there") as caught:
        store.import_weights(f"{address}/w.pkl", "mine")
    assert caught.value.exit_code == 1
    assert leftovers() == [".mark", ".part"]
    store.import_weights(f"{address}/w.pkl", "mine")
    assert kind.ranges == [None, f"bytes={len(kind.content) // 2}-"]
    assert kind.statuses == [200, 206]
    assert leftovers() == []


def test_another_file_at_the_address_is_fetched_from_its_start(site: tuple[str, type[Site]]) -> None:
    address, kind = site
    kind.breaks_left = 1
    with pytest.raises(VdeblurError):
        store.import_weights(f"{address}/w.pkl", "mine")
    kind.etag = '"2"'
    assert store.import_weights(f"{address}/w.pkl", "mine").parameters > 0


def test_pages_and_wrong_addresses_are_refused_in_one_line(site: tuple[str, type[Site]]) -> None:
    address, kind = site
    for url, words in (
        (f"{address}/page.html", "a web page, not a file; download the weights in a browser"),
        (f"{address}/none.pkl", "404"),
        ("ftp://example.org/w.pkl", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("http://[::1/w.pkl", "not an address"),
        ("https://user:word@example.org/w.pkl", "an address with a login"),
    ):
        with pytest.raises(InputError) as caught:
            store.import_weights(url, "mine")
        assert words in str(caught.value)
        assert str(caught.value).startswith(url)
    kind.content = b"plain words, no weights\n" * 9
    with pytest.raises(InputError, match="a text file") as caught:
        store.import_weights(f"{address}/w.pkl", "mine")
    assert str(caught.value).startswith(f"{address}/w.pkl")
    assert leftovers() == []
    assert not places.imported()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_no_fault_of_the_address(status: int, site: tuple[str, type[Site]]) -> None:
    with pytest.raises(VdeblurError, match=f"the server says {status} .*; try again later") as caught:
        store.import_weights(f"{site[0]}/busy/{status}", "mine")
    assert caught.value.exit_code == 1


def test_blanks_and_letters_of_other_alphabets_are_sent_as_the_web_has_them(
    site: tuple[str, type[Site]],
) -> None:
    address, _ = site
    assert store.import_weights(f"{address}/w.pkl?of=M\N{LATIN SMALL LETTER U WITH DIAERESIS} 1", "mine")


def test_two_imports_of_one_address_do_not_mix(site: tuple[str, type[Site]]) -> None:
    """The second begins while the first is under way: neither takes the other's bytes for its own."""
    address, _ = site
    failed = []

    def second(done: int, total: int | None) -> None:
        if done == 0:
            store.import_weights(f"{address}/w.pkl", "second")

    try:
        store.import_weights(f"{address}/w.pkl", "first", second)
    except VdeblurError as error:
        failed.append(str(error))
    assert "at the same time" in failed[0]
    assert list(places.imported()) == ["second"]
    state = load_network(places.imported()["second"]).network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in mimo_state().items())


def test_a_folder_that_takes_no_file_is_not_called_a_network_that_fails(site: tuple[str, type[Site]]) -> None:
    (places.data_folder() / "downloads").write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"cannot be written .*VDEBLUR_DATA"):
        store.import_weights(f"{site[0]}/w.pkl", "mine")


def test_nobody_there() -> None:
    with pytest.raises(VdeblurError, match="cannot be reached") as caught:
        store.import_weights("http://127.0.0.1:9/w.pkl", "mine")
    assert "\n" not in str(caught.value)
