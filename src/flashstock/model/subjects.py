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
        case events.Returned():
            return event.digest
        case events.Adjusted():
            return event.command
        case _:
            return event.pool
