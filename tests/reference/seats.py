"""How the reference gives out seats: each request by itself, in order, in plain steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from flashstock.errors import NotAGroupBuy
from flashstock.hotpath.group_calls import MATCH, OPEN
from flashstock.hotpath.group_replies import SeatsReply
from flashstock.hotpath.scripts import Verdict
from flashstock.model import events
from flashstock.model.eligibility import Attests, unpack_attests
from flashstock.model.group_records import cart_of_group, group_of_cart
from flashstock.model.group_rules import GroupRules, GroupType, parse_group_rules
from flashstock.model.records import ReservationRecord
from flashstock.model.states import Durability, GroupState, PoolState, ReservationState
from tests.reference.groups import Group, GroupBook
from tests.reference.pools import Pool
from tests.reference.shard import RECLAIM_BATCHES_MAX
from tests.reference.store import GENERATION


class SeatTaker(GroupBook):
    """Opens groups, joins them, and matches into them."""

    async def take_seats(
        self,
        pool_id: str,
        units_wanted: int,
        digests: Sequence[str],
        buyers: Sequence[str],
        quantities: Sequence[str],
        wants: Sequence[str],
        attests: Sequence[str] | None = None,
    ) -> SeatsReply:
        pool = self._group_pool(pool_id)
        next_wave_ms = self._release_waves(pool_id, pool)
        self._release_seats(pool_id, pool, RECLAIM_BATCHES_MAX, math.inf)
        self._close_groups()
        verdicts, answers, new = list[Verdict](), list[str](), dict[str, Group]()
        told, granted = dict[str, Group](), list[str]()
        said = [unpack_attests(packed) for packed in attests or [""] * len(digests)]
        columns = zip(digests, buyers, map(int, quantities), wants, said, strict=True)
        for digest, buyer, quantity, wanted, attested in columns:
            found = self._decide_seat(pool_id, pool, digest, (buyer, quantity), wanted, attested)
            verdict = found if isinstance(found, Verdict) else Verdict.HELD
            if isinstance(found, Group):
                self._grant(pool, found, digest, buyer, quantity)
                granted.append(digest)
                told[found.digest] = found
                if found.digest == digest:
                    new[digest] = found
            elif verdict in (Verdict.GROUP_FULL, Verdict.GROUP_OVER):
                told[wanted[5:]] = self.groups[wanted[5:]]
            if verdict in (Verdict.HELD, Verdict.REPLAYED):
                answers.append(digest)
            verdicts.append(verdict)
        first_seq = self.seq + 1
        self._log_seats(pool_id, pool, new, granted)
        refused = Verdict.NOT_ELIGIBLE in verdicts
        return SeatsReply(
            GENERATION,
            self.now_ms,
            pool.available,
            pool.grants,
            self.seq,
            first_seq,
            self.now_ms + pool.settings.hold_ms,
            pool.settings.durability is Durability.FAST,
            next_wave_ms,
            pool.settings.starts_at_ms,
            pool.settings.per_buyer_limit,
            bytes(48 + verdict for verdict in verdicts),
            [self.records[digest].pack().encode() for digest in answers],
            "new" if refused else "",
            "",
            self._rules_of(pool).deduct == "form",
            {digest: self.record_of(group).pack().encode() for digest, group in told.items()},
        )

    def _group_pool(self, pool_id: str) -> Pool:
        pool = self._pool(pool_id)
        if not pool.settings.group_buy:
            raise NotAGroupBuy(pool=pool_id)
        return pool

    @staticmethod
    def _rules_of(pool: Pool) -> GroupRules:
        return parse_group_rules(pool.settings.group_buy)

    def _decide_seat(
        self,
        pool_id: str,
        pool: Pool,
        digest: str,
        buys: tuple[str, int],
        wanted: str,
        attested: Attests,
    ) -> Verdict | Group:
        """The group it gets a seat in, or why not."""
        buyer, quantity = buys
        known = self.records.get(digest)
        if known is not None:
            same = (known.pool, known.buyer, known.quantity) == (pool_id, *buys)
            group = group_of_cart(known.cart)
            fits = wanted == MATCH or group == (digest if wanted == OPEN else wanted[5:])
            return Verdict.REPLAYED if same and group and fits else Verdict.MISMATCH
        rules = pool.settings
        if rules.state is PoolState.CLOSED or 0 < rules.ends_at_ms <= self.now_ms:
            return Verdict.ENDED
        if rules.state is PoolState.PAUSED:
            return Verdict.PAUSED
        if self.now_ms < rules.starts_at_ms:
            return Verdict.NOT_STARTED
        group_or_verdict = self._choose(pool_id, pool, digest, buyer, wanted, attested)
        if isinstance(group_or_verdict, Verdict):
            return group_or_verdict
        taken = pool.buyers.get(buyer, 0) + quantity
        if rules.per_buyer_limit and taken > rules.per_buyer_limit:
            return Verdict.BUYER_LIMIT
        return group_or_verdict if quantity <= pool.available else Verdict.SOLD_OUT

    def _choose(
        self, pool_id: str, pool: Pool, digest: str, buyer: str, wanted: str, attested: Attests
    ) -> Verdict | Group:
        if wanted == MATCH:
            for _, group in self.open_groups(pool_id):
                if group.deadline_ms > self.now_ms and not self._kept_out(group, buyer, attested):
                    return group
        elif wanted != OPEN:
            joined = self.groups.get(wanted[5:])
            if joined is None or joined.pool != pool_id:
                return Verdict.GROUP_UNKNOWN
            if joined.state is not GroupState.OPEN or joined.deadline_ms <= self.now_ms:
                return Verdict.GROUP_OVER
            if self.missing(joined) <= 0:
                return Verdict.GROUP_FULL
            kept_out = self._kept_out(joined, buyer, attested)
            return joined if kept_out is None else kept_out
        rules, settings = self._rules_of(pool), pool.settings
        if rules.groups_per_buyer and self._groups_in(pool_id, buyer) >= rules.groups_per_buyer:
            return Verdict.GROUPS_LIMIT
        opened = [g for g in self.groups_of(pool_id) if g.state is GroupState.OPEN]
        if rules.open_max and len(opened) >= rules.open_max:
            return Verdict.OPEN_LIMIT
        ends_ms = self.now_ms + rules.life_ms
        if settings.ends_at_ms:
            ends_ms = min(ends_ms, settings.ends_at_ms)
        return Group(digest, pool_id, settings.group_buy, ends_ms, digest)

    def _groups_in(self, pool_id: str, buyer: str) -> int:
        return self.seats_of_buyers(pool_id).get(("", buyer), 0)

    def _kept_out(self, group: Group, buyer: str, attested: Attests) -> Verdict | None:
        rules = group.rules
        if rules.type is GroupType.NEWCOMERS and not attested.new_buyer:
            return Verdict.NOT_ELIGIBLE
        seats = self.seats_of_buyers(group.pool).get((group.digest, buyer), 0)
        if seats >= rules.seats_per_buyer:
            return Verdict.SEATS_LIMIT
        groups = self._groups_in(group.pool, buyer)
        if not seats and rules.groups_per_buyer and groups >= rules.groups_per_buyer:
            return Verdict.GROUPS_LIMIT
        return None

    def _grant(self, pool: Pool, group: Group, digest: str, buyer: str, quantity: int) -> None:
        self.groups[group.digest] = group
        state = ReservationState.ORDERED if group.at_forming else ReservationState.HELD
        deadline_ms = min(self.now_ms + pool.settings.hold_ms, group.deadline_ms)
        cart = cart_of_group(group.digest)
        record = ReservationRecord(state, deadline_ms, 1, 0, quantity, group.pool, buyer, cart)
        self._hold(pool, digest, record)

    def _log_seats(
        self, pool_id: str, pool: Pool, new: dict[str, Group], granted: list[str]
    ) -> None:
        """An entry for the groups, then one for each kind of seats with the same deadline."""
        opened_seq = self.seq + 1
        for group in new.values():
            group.seq = opened_seq
        if new:
            first = next(iter(new.values()))
            what = (first.deadline_ms, first.rules_text, tuple(new))
            self._append(events.GroupsOpened(pool_id, self.now_ms, *what))
        lots: dict[tuple[ReservationState, int], list[str]] = {}
        for digest in granted:
            record = self.records[digest]
            lots.setdefault((record.state, record.deadline_ms), []).append(digest)
        for (state, deadline_ms), digests in lots.items():
            holds = []
            for digest in digests:
                record = self.records[digest] = replace(self.records[digest], seq=self.seq + 1)
                holds.append(events.Hold(digest, record.buyer, record.quantity, record.cart))
            self._append(events.Held(pool_id, self.now_ms, deadline_ms, tuple(holds), state))
            pool.deadlines["".join(digests)] = deadline_ms
            self._wake(pool_id, deadline_ms)
