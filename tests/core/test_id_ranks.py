"""The compact mapping is a mapping: it never forgets, mixes up or invents an id."""

from __future__ import annotations

import random
import sys
from itertools import count

import pytest

from airflow_provider_cohere_datasets.core import id_ranks
from airflow_provider_cohere_datasets.core.id_ranks import UNKNOWN, UNRANKED, IdRanks


def test_empty_one_knows_nobody() -> None:
    ranks = IdRanks()
    assert len(ranks) == 0
    assert ranks.find(["a", ""]) == [UNKNOWN, UNKNOWN]
    assert ranks.find([]) == []


def test_agrees_with_a_dict_while_it_grows() -> None:
    ranks, wanted, chance = IdRanks(), dict[str, int](), random.Random(5)
    for page in range(60):
        met = {f"id-{chance.randrange(20_000)}" for _ in range(chance.randrange(900))}
        entries = {row_id: chance.choice([UNRANKED, page]) for row_id in met - wanted.keys()}
        ranks.enter(list(entries), entries.values())
        wanted.update(entries)
        assert len(ranks) == len(wanted)
    ids = [f"id-{number}" for number in range(25_000)]
    assert ranks.find(ids) == [wanted.get(row_id, UNKNOWN) for row_id in ids]


def test_ids_that_want_the_same_place_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    # All keys end in the same bits, so each but the first has to look for another place, over the end of the table too.
    monkeypatch.setattr(id_ranks, "hash", lambda text: (int(text) << 16) + 16380, raising=False)
    ranks = IdRanks()
    ranks.enter([str(number) for number in range(400)], range(400))
    assert ranks.find([str(number) for number in range(401)]) == [*range(400), UNKNOWN]


def test_hash_of_zero_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_ranks, "hash", lambda _: 0, raising=False)
    ranks = IdRanks()
    assert ranks.find(["a"]) == [UNKNOWN]
    ranks.enter(["a"], [7])
    assert ranks.find(["a"]) == [7]
    assert len(ranks) == 1


def test_many_ids_take_little_memory() -> None:
    ranks = IdRanks()
    for first in range(0, 200_000, 1000):
        ranks.enter([f"dataset-{number}" for number in range(first, first + 1000)], count(first))
    taken = sys.getsizeof(ranks._keys) + sys.getsizeof(ranks._ranks)
    assert len(ranks) == 200_000
    assert taken < 40 * len(ranks)
