"""Which shards a process runs: how it is said, which servers are theirs, and which processes would hear the same."""

from __future__ import annotations

import pytest

from plexlink.shards import ALL_SHARDS, NO_SHARDS, Shards


@pytest.mark.parametrize(
    ("text", "ids", "count"), [("0-3/16", (0, 1, 2, 3), 16), ("0/2", (0,), 2), ("15/16", (15,), 16), ("none", (), 0)]
)
def test_shards_are_read_as_they_are_written(text: str, ids: tuple[int, ...], count: int) -> None:
    shards = Shards.parse(text)
    assert (shards.ids, shards.count) == (ids, count)
    assert str(shards) == text


@pytest.mark.parametrize("text", ["", "0", "2/2", "3-1/4", "0-4/4", "-1/2", "0/0", "a/b", "0,1/2", "0 / 2", "1e1/16"])
def test_what_names_no_shards_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reader of settings says the sentence
        Shards.parse(text)


def test_a_server_belongs_to_one_shard_and_direct_messages_to_the_first() -> None:
    server = (5 << 22) + 77
    assert [Shards.parse(f"{number}/3").have(server) for number in range(3)] == [False, False, True]
    assert [Shards.parse(text).have_first for text in ("0/3", "1-2/3", "none")] == [True, False, False]
    assert ALL_SHARDS.have(server)
    assert ALL_SHARDS.have_first
    assert not NO_SHARDS.have(server)


@pytest.mark.parametrize(
    ("mine", "theirs", "collide"),
    [
        ("0-1/4", "2-3/4", False),
        ("0-1/4", "1-2/4", True),
        ("0/4", "0/4", True),
        ("0/4", "1/5", True),  # numbers of another count: nobody knows
        ("0/4", "automatic", True),
        ("automatic", "0/4", True),
        ("automatic", "automatic", True),
        ("none", "automatic", False),
        ("none", "none", False),
        ("0/4", "none", False),
        ("0/4", "0,2/4", True),
        ("1/4", "0,2/4", False),
    ],
)
def test_processes_that_would_hear_the_same_collide(mine: str, theirs: str, *, collide: bool) -> None:
    shards = ALL_SHARDS if mine == "automatic" else Shards.parse(mine)
    assert shards.collide_with(theirs) is collide


def test_shards_that_are_no_range_are_written_one_by_one() -> None:
    assert str(Shards((0, 2), 4)) == "0,2/4"
    assert str(ALL_SHARDS) == "automatic"
