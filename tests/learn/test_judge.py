"""What a network is worth while it learns: nonsense that the guard keeps out of results is no caution."""

from __future__ import annotations

import numpy as np
import pytest
from engine.standins import ConstantDifference, NonsenseWhenDark, NotFinite, ZeroDifference

from vdeblur.data.synthesis import Pair
from vdeblur.learn.judge import MOST_DB, score
from vdeblur.models.contract import DeblurNetwork


def pairs(*bases: int) -> list[Pair]:
    """Pictures about so bright, the blurred side ten levels darker than the sharp one."""
    rng = np.random.default_rng(0)
    sharp = [rng.integers(base, base + 20, (24, 32, 3)).astype(np.uint8) for base in bases]
    return [Pair(side - np.uint8(10), side) for side in sharp]


@pytest.mark.parametrize("network", [NotFinite(), ConstantDifference(0.09, 0.09, 0.09)])
def test_a_network_that_is_always_refused_loses_to_one_that_makes_pictures_a_little_worse(
    network: DeblurNetwork,
) -> None:
    held_out = pairs(100, 120)
    refused = score(network, iter(held_out))
    assert (refused.gain_db, refused.worst_db, refused.refused) == (-MOST_DB, -MOST_DB, 2)
    worse = score(ConstantDifference(-0.002, -0.002, -0.002), iter(held_out))
    assert refused.gain_db < worse.gain_db < 0 == worse.refused


def test_a_single_refused_picture_counts_as_badly_as_can_be() -> None:
    found = score(NonsenseWhenDark(), iter(pairs(30, 120)))
    assert (found.pairs, found.refused, found.worst_db, found.shift) == (2, 1, -MOST_DB, 0.0)
    assert found.gain_db == pytest.approx(-MOST_DB / 2)
    assert score(ZeroDifference(), iter(pairs(30, 120))).gain_db == 0.0
