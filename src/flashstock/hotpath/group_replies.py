"""What the scripts say of groups and seats, as typed values; the layouts are in the Lua headers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flashstock.hotpath.replies import BatchReply, Reply, ReservationReply
from flashstock.model.group_records import GroupRecord, unpack_group
from flashstock.model.ids import FIELD_SEPARATOR
from flashstock.model.records import ReservationRecord, unpack_record


@dataclass(frozen=True, slots=True)
class SeatsReply(BatchReply):
    """What take_seats decided of a batch, as of one instant.

    ``replays`` holds a packed record for each item that is HELD or REPLAYED, in order: seats of
    different groups differ in their deadlines. Its cart names the group. ``first_seq`` is the
    first event of the whole batch, ``deadline_ms`` the latest that a seat of it may have.
    """

    groups: Mapping[str, bytes] = field(default_factory=dict)
    """Packed groups by digest, as the batch left them: of every HELD seat, and of those refused
    as full or over.
    """

    def group(self, digest: str) -> GroupRecord | None:
        """One of ``groups``."""
        packed = self.groups.get(digest)
        return None if packed is None else unpack_group(packed.decode())


def seats_reply(generation: str, reply: Reply) -> SeatsReply:
    """Read the answer of take_seats with status OK."""
    audience, _, channels = reply[12].decode().partition(FIELD_SEPARATOR)
    count = reply[14]
    digests, packed = reply[15 : 15 + count], reply[15 + count : 15 + 2 * count]
    groups = {digest.decode(): text for digest, text in zip(digests, packed, strict=True)}
    return SeatsReply(
        generation,
        reply[1],
        reply[2],
        reply[3],
        reply[4],
        reply[5],
        reply[6],
        reply[7] == 1,
        reply[8],
        reply[9],
        reply[10],
        reply[13],
        reply[15 + 2 * count :],
        audience,
        channels,
        reply[11] == 1,
        groups,
    )


@dataclass(frozen=True, slots=True)
class SeatReply(ReservationReply):
    """What pay_seat or leave_group decided of a seat, and its group as it is now.

    ``group`` is ``None`` where the hot path has forgotten it, or the seat is unknown.
    """

    group: GroupRecord | None = None


def seat_reply(generation: str, reply: Reply) -> SeatReply:
    """Read the answer of pay_seat or leave_group."""
    record = unpack_record(reply[3].decode()) if len(reply) > 3 and reply[3] else None
    group = unpack_group(reply[4].decode()) if len(reply) > 4 and reply[4] else None
    return SeatReply(generation, reply[0], reply[1], reply[2], record, group)


@dataclass(frozen=True, slots=True)
class GroupAndSeats:
    """One group and its first seats, those paid first: digests and records."""

    digest: str
    record: GroupRecord
    seats: tuple[tuple[str, ReservationRecord], ...]


@dataclass(frozen=True, slots=True)
class GroupsReply:
    """Groups by position, as of one instant; ``None`` where the hot path knows nothing."""

    generation: str
    now_ms: int
    seq: int
    groups: tuple[GroupAndSeats | None, ...]


@dataclass(frozen=True, slots=True)
class OpenGroup:
    """One line of the list of open groups; ``score`` and ``digest`` are where to go on after."""

    digest: str
    score: int
    record: GroupRecord


@dataclass(frozen=True, slots=True)
class OpenGroupsReply:
    """A page of the groups of a pool that can be joined, the nearest to full first."""

    generation: str
    now_ms: int
    seq: int
    groups: tuple[OpenGroup, ...]
    more: bool


def groups_reply(generation: str, digests: Sequence[str], reply: Reply) -> GroupsReply:
    """Read the answer of read_groups: for each digest its group ('' for none), how many seats
    follow, and those, each a digest and a packed record.
    """
    place, found = 3, list[GroupAndSeats | None]()
    for digest in digests:
        packed, count = reply[place], reply[place + 1]
        flat = reply[place + 2 : place + 2 + 2 * count]
        place += 2 + 2 * count
        seats = tuple(
            (seat.decode(), unpack_record(text.decode()))
            for seat, text in zip(flat[0::2], flat[1::2], strict=True)
        )
        found.append(
            GroupAndSeats(digest, unpack_group(packed.decode()), seats) if packed else None
        )
    return GroupsReply(generation, reply[1], reply[2], tuple(found))


def open_groups_reply(generation: str, reply: Reply) -> OpenGroupsReply:
    """Read the answer of list_open_groups."""
    flat = reply[4:]
    groups = tuple(
        OpenGroup(digest.decode(), int(score), unpack_group(packed.decode()))
        for digest, score, packed in zip(flat[0::3], flat[1::3], flat[2::3], strict=True)
    )
    return OpenGroupsReply(generation, reply[1], reply[2], groups, reply[3] == 1)
