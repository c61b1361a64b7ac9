"""What an event is about: the name under which somebody waits for it."""

from __future__ import annotations

from flashstock.model import events


def subject_of(event: events.Event) -> str:
    """The digest of the one reservation or command it decided; else its pool.

    An event of several reservations has no one subject: ``events.split`` it first.
    """
    match event:
        case events.Held(holds=(hold,)):
            return hold.digest
        case events.Released(releases=(release,)):
            return release.digest
        case events.Withdrawn() | events.Confirmed() | events.RefundDue() | events.Extended():
            return event.digest
        case events.Returned() | events.SeatPaid():
            return event.digest
        case events.SeatsServed(seats=(seat,)):
            return seat.digest
        case events.SeatsRefunded(seats=(refunded,)):
            return refunded.digest
        case events.GroupsOpened(groups=(group,)):
            return group
        case events.GroupFormed() | events.GroupFailed() | events.OpenerPassed():
            return event.group
        case events.Adjusted():
            return event.command
        case _:
            return event.pool
