"""A file of the wrong kind is told from its first bytes, in one line, before torch is loaded."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from weights.files import mimo_state, write_safetensors, write_torch

from vdeblur.errors import InputError
from vdeblur.weights.containers import read_header, recognise_container


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        recognise_container(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def zip_with(**members: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def tar() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pt"))
    return data.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"some words\nand more\n" * 50, "a text file"),
        ("ärger\n".encode() * 9, "a text file"),
        (b"\n<!DOCTYPE html><html>virus scan warning</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"\x00\x00\x00\x18ftypisom" + bytes(99), "a video"),
        (b"\x1a\x45\xdf\xa3" + bytes(99), "a video"),
        (b"RIFF\0\0\0\0AVI LIST" + bytes(99), "a video"),
        ((b"\x47" + b"\xff" * 187) * 3, "a video"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "a picture"),
        (b"\x1f\x8b\x08" + bytes(99), "a compressed archive"),
        (tar(), "a tar archive"),
        (
            b"\x80\x04\x95\x05\0\0\0\0\0\0\0}\x94.",
            "a Python pickle that torch did not write, refused unopened",
        ),
        (b"\x08\x07\x12\x07pytorch" + bytes(99), "not a weights file of any known kind"),
        (zip_with(**{"a/b.npy": b"x"}), "an archive, not a weights file"),
    ],
)
def test_other_kinds_of_files_are_named(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    assert words in refusal(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert "a folder" in refusal(tmp_path)
    assert "there is no such weights file" in refusal(tmp_path / "none.pt")


def test_deepdeblur_download_names_the_file_inside(tmp_path: Path) -> None:
    """The official downloads are archives of an experiment folder; the last epoch is the published one."""
    members = {f"GOPRO_L1/models/model-{n}.pt": b"x" for n in (900, 1000)} | {"GOPRO_L1/args.pt": b"x"}
    path = tmp_path / "GOPRO_L1.zip"
    path.write_bytes(zip_with(**members))
    assert "unpack it and give GOPRO_L1/models/model-1000.pt" in refusal(path)


def test_programs_and_repacked_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(zip_with(**{"w/data.pkl": b"x", "w/constants.pkl": b"x", "w/code/x.py": b"x"}))
    assert "TorchScript" in refusal(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", bytes(10_000))
    assert "packed again by another program" in refusal(path)


def test_containers_of_torch_and_safetensors_are_known(tmp_path: Path) -> None:
    state = {"x": torch.zeros(3)}
    assert recognise_container(write_torch(tmp_path / "a.pt", state)) == "torch zip"
    assert recognise_container(write_torch(tmp_path / "b.pkl", state, legacy=True)) == "torch legacy"
    for protocol in (3, 4):
        path = tmp_path / f"{protocol}.pkl"
        torch.save(state, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
        assert recognise_container(path) == "torch legacy"
    assert recognise_container(write_safetensors(tmp_path / "c.safetensors", state)) == "safetensors"


def test_header_of_safetensors_is_read_without_its_tensors(tmp_path: Path) -> None:
    state = mimo_state()
    header = read_header(write_safetensors(tmp_path / "w.safetensors", state, {"license": "Apache-2.0"}))
    assert header.metadata == {"license": "Apache-2.0"}
    assert header.shapes == {key: tuple(value.shape) for key, value in state.items()}
    assert header.parameters == sum(value.numel() for value in state.values())


@pytest.mark.parametrize(
    "fields",
    [
        [],
        {"w": 3},
        {"w": {"shape": [2]}},
        {"w": {"shape": [2], "data_offsets": [0]}},
        {"w": {"shape": ["a"], "data_offsets": [0, 8]}},
        {"w": {"shape": [float("inf")], "data_offsets": [0, 8]}},
        {"__metadata__": 3, "w": {"shape": [2], "data_offsets": [0, 8]}},
        {"w": {"shape": [2], "data_offsets": [0, 4_000]}},
    ],
)
def test_headers_that_make_no_sense_are_refused(fields: object, tmp_path: Path) -> None:
    text = json.dumps(fields).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(InputError, match="damaged"):
        read_header(path)
    path.write_bytes((200).to_bytes(8, "little") + b"{" + b"[" * 199)
    with pytest.raises(InputError, match="damaged"):
        read_header(path)
