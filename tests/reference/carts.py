"""Carts, said once more in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flashstock.hotpath.replies import CartLine, CartReply
from flashstock.hotpath.scripts import Verdict
from flashstock.model import events
from flashstock.model.eligibility import unpack_attests
from flashstock.model.ids import limit_scope
from flashstock.model.records import ReservationRecord
from flashstock.model.states import ReservationState
from tests.reference.pools import Pool
from tests.reference.shard import ReferenceShard

GRANTED = (Verdict.HELD, Verdict.REPLAYED)
COUNTED = (Verdict.HELD, Verdict.SOLD_OUT, Verdict.BUYER_LIMIT)


@dataclass
class _Line:
    digest: str
    record: ReservationRecord
    pool: Pool | None
    verdict: Verdict | None = None
    """``None``: the pool's rules decide."""
    available: int = 0


class ReferenceCarts(ReferenceShard):
    """The part of the reference that holds carts."""

    async def reserve_cart(
        self,
        shard: int,
        cart: str,
        buyer: str,
        lines: Sequence[tuple[str, str, int]],
        attests: str = "",
    ) -> CartReply:
        wanted = [
            _Line(
                digest,
                ReservationRecord(ReservationState.HELD, 0, 1, 0, quantity, pool_id, buyer, cart),
                self.pools.get(pool_id),
            )
            for pool_id, digest, quantity in lines
        ]
        named: set[str] = set()
        for line in wanted:
            names = {f"pool {line.record.pool}", line.digest}
            line.verdict = Verdict.MISMATCH if named & names else self._verdict_unruled(line)
            named |= names
        for line in wanted:
            if line.pool and line.verdict is None:
                self._settle(line.record.pool, line.pool, line.record.quantity)
                line.available = line.pool.available
        before: Counter[str] = Counter()
        for line in wanted:
            if line.pool and line.verdict is None:
                scope = limit_scope(line.record.pool)
                asked = (line.pool, line.digest, line.record, unpack_attests(attests))
                line.verdict = self._verdict(*asked, before[scope])
                # A line that is not even let in wants nothing of the limit, nor one to pay for.
                held = line.pool.granted_state is ReservationState.HELD
                counts = held and line.verdict in COUNTED
                before[scope] += line.record.quantity if counts else 0
        held = all(line.verdict in GRANTED for line in wanted)
        answer = tuple(self._cart_line(line, held=held) for line in wanted)
        return CartReply("1", held, self.now_ms, self.seq, answer)

    def _verdict_unruled(self, line: _Line) -> Verdict | None:
        if line.digest in self.records:
            return self._verdict_of_known(line.digest, line.record)
        if line.pool is None:
            return Verdict.UNKNOWN_POOL
        return Verdict.GROUP_ONLY if line.pool.settings.group_buy else None

    def _cart_line(self, line: _Line, *, held: bool) -> CartLine:
        assert line.verdict is not None
        if line.verdict is Verdict.REPLAYED:
            return CartLine(line.verdict, 0, self.records[line.digest])
        refused = line.verdict is Verdict.NOT_ELIGIBLE
        if not held or line.pool is None:
            door = line.pool.door(seen=refused) if line.pool else ("", "")
            return CartLine(line.verdict, line.available, None, *door)
        pool_id = line.record.pool
        state, deadline_ms = line.pool.granted_state, line.pool.deadline_of_new(self.now_ms)
        record = replace(line.record, state=state, deadline_ms=deadline_ms, seq=self.seq + 1)
        self._hold(line.pool, line.digest, record)
        self._wait(pool_id, [line.digest], deadline_ms)
        hold = events.Hold(line.digest, record.buyer, record.quantity, record.cart)
        self._append(events.Held(pool_id, self.now_ms, deadline_ms, (hold,), state))
        return CartLine(line.verdict, line.pool.available, record)
