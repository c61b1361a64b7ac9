"""Who is let in when more ask than can be answered, and that the event loop goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from flashstock.api.lean import LeanAnswer, Respond
from flashstock.api.turnstile import ADMITTED_PER_TURN, REFUSED_PER_TURN, Turnstile

PATH = "/v1/lean"
YES = LeanAnswer(201, (), b"yes")
NO = LeanAnswer(503, (), b"no")


class Crowd:
    """Asks by number; remembers who was served and who was refused, in order."""

    def __init__(self, waiting_max: int) -> None:
        self.served: list[int] = []
        self.refused: list[int] = []
        self.turnstile = Turnstile({PATH: self._serve}, self._refuse, waiting_max)

    def _serve(self, headers: Mapping[bytes, bytes], body: bytes, respond: Respond) -> None:
        self.served.append(int(body))
        respond(YES)

    def _refuse(self, path: str, respond: Respond) -> None:
        assert path == PATH
        respond(NO)

    def ask(self, number: int) -> None:
        def respond(answer: LeanAnswer) -> None:
            if answer is NO:
                self.refused.append(number)

        self.turnstile.enter(PATH, {}, b"%d" % number, respond)


async def test_they_are_served_in_the_order_they_came_a_part_each_turn():
    crowd = Crowd(waiting_max=10_000)
    size = 2 * ADMITTED_PER_TURN + 7
    for number in range(size):
        crowd.ask(number)
    assert crowd.served == [], "not from within whoever heard them"
    for turn in range(1, 4):
        await asyncio.sleep(0)
        assert crowd.served == list(range(min(turn * ADMITTED_PER_TURN, size)))
    assert crowd.refused == []


async def test_where_too_many_wait_the_last_to_come_are_refused_a_few_each_turn():
    crowd = Crowd(waiting_max=10)
    size = ADMITTED_PER_TURN + 10 + REFUSED_PER_TURN + 5
    for number in range(size):
        crowd.ask(number)
    await asyncio.sleep(0)
    assert crowd.served == list(range(ADMITTED_PER_TURN))
    assert crowd.refused == list(range(size - 1, size - 1 - REFUSED_PER_TURN, -1))
    await asyncio.sleep(0)
    assert len(crowd.served) == size - REFUSED_PER_TURN, "there is room again"


async def test_those_who_ask_again_at_once_do_not_stop_the_rest_of_the_process():
    crowd = Crowd(waiting_max=10)
    asked = 0

    def ask_again(answer: LeanAnswer | None = None) -> None:
        nonlocal asked
        asked += 1
        if asked < 100_000:
            crowd.turnstile.enter(PATH, {}, b"%d" % asked, ask_again)

    for _ in range(50):
        ask_again()
    for _ in range(10):  # ten turns of the loop are enough for ten turns of other work
        await asyncio.sleep(0)
    assert asked <= 50 + 10 * (ADMITTED_PER_TURN + REFUSED_PER_TURN)
    asked = 100_000
    await asyncio.sleep(0)


async def test_it_starts_again_after_a_quiet_time():
    crowd = Crowd(waiting_max=10)
    for number in range(3):
        crowd.ask(number)
        await asyncio.sleep(0)
        assert crowd.served[-1] == number


async def test_a_request_that_breaks_stops_nobody_else():
    crowd = Crowd(waiting_max=10)
    broken: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))

    def hang_up(answer: LeanAnswer) -> None:
        raise OSError(answer)

    crowd.turnstile.enter(PATH, {}, b"0", hang_up)
    crowd.ask(1)
    for _ in range(2):
        await asyncio.sleep(0)
    assert crowd.served == [0, 1]
    assert len(broken) == 1
