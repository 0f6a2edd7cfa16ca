"""Which of a bot's shards a process runs: Discord sends each shard the events of its servers, shard 0 direct messages.

See https://docs.discord.com/developers/events/gateway#sharding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_WRITTEN = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?/(?P<count>[0-9]{1,5})")
_NONE, _AUTOMATIC = "none", "automatic"


@dataclass(frozen=True, slots=True)
class Shards:
    """Some of `count` shards, by their numbers; all of them, however many Discord wants, where there is no count."""

    ids: tuple[int, ...] = ()
    count: int | None = None

    @classmethod
    def parse(cls, text: str) -> Shards:
        """Take `0-3/16`, `0/2` or `none`, else raise ValueError."""
        if text == _NONE:
            return NO_SHARDS
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise ValueError
        first, count = int(found["first"]), int(found["count"])
        last = first if found["last"] is None else int(found["last"])
        if not first <= last < count:
            raise ValueError
        return cls(tuple(range(first, last + 1)), count)

    def __str__(self) -> str:
        if self.count is None:
            return _AUTOMATIC
        if not self.ids:
            return _NONE
        first, last = self.ids[0], self.ids[-1]
        if self.ids != tuple(range(first, last + 1)):
            return f"{','.join(map(str, self.ids))}/{self.count}"
        return f"{first}/{self.count}" if first == last else f"{first}-{last}/{self.count}"

    @property
    def are_none(self) -> bool:
        """Whether the process has no connection to Discord's gateway."""
        return self.count is not None and not self.ids

    @property
    def have_first(self) -> bool:
        """Whether shard 0 is among them, to which direct messages come."""
        return self.count is None or 0 in self.ids

    def have(self, guild_id: int) -> bool:
        """Tell whether the events of a server come to these shards."""
        return self.count is None or (bool(self.ids) and (guild_id >> 22) % self.count in self.ids)

    def collide_with(self, written: str) -> bool:
        """Tell whether another process's shards, as they are written, would get the same events."""
        if self.are_none or written == _NONE:
            return False
        numbers, _, count = written.partition("/")
        if self.count is None or written == _AUTOMATIC or count != str(self.count):
            return True  # numbers of different counts say nothing of each other
        return bool(set(self.ids) & _numbers(numbers))


ALL_SHARDS = Shards()
NO_SHARDS = Shards((), 0)


def _numbers(text: str) -> set[int]:
    first, _, last = text.partition("-")
    return set(range(int(first), int(last) + 1)) if last else {int(each) for each in text.split(",")}
