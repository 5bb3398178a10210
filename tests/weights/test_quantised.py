"""A graph in int8 is used whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from weights.files import mimo_state, write_safetensors

from vdeblur.weights import quantised
from vdeblur.weights.containers import sha256


def test_damage_anywhere_in_a_graph_is_said_and_the_graph_not_used(tmp_path: Path) -> None:
    """Bit rot in the cache; what no byte of the graph hangs on (a date) may change."""
    weights = write_safetensors(tmp_path / "w.safetensors", mimo_state())
    parts = b"<net/>" * 50, np.random.default_rng(0).bytes(400)
    facts = quantised.Facts(sha256(weights), False, quantised.VERSION, 0.99, 8, "test")
    path = quantised.write(tmp_path / "w.int8.zip", facts, *parts).path
    whole = path.read_bytes()
    used = 0
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        found, reason = quantised.find(weights)
        if found is None:
            assert "not used" in reason
        else:
            assert found.read() == parts
            used += 1
    assert used < len(whole) / 12
    path.write_bytes(whole[:-400])
    assert quantised.find(weights)[0] is None
    path.write_bytes(whole)
    assert quantised.find(weights)[0] is not None
