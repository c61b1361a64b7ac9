"""Where the tree of errors begins: its root, and a family for each kind of status."""

from __future__ import annotations

from typing import Any, ClassVar


class FlashstockError(Exception):
    """Root of the tree.

    Args:
        detail: what was wrong with this request and what to do about it.
        extra: members added to the problem document (what is left, when it opens, …).
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something broke on our side"

    def __init__(self, detail: str = "", **extra: Any) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.extra = extra


class Refused(FlashstockError):
    code = "refused"
    status = 409
    title = "Refused"


class NotFound(FlashstockError):
    code = "not_found"
    status = 404
    title = "Not found"


class Invalid(FlashstockError):
    code = "invalid"
    status = 422
    title = "Invalid"


class Denied(FlashstockError):
    code = "denied"
    status = 403
    title = "Denied"


class Unavailable(FlashstockError):
    """A 503. The request may have taken effect: the same key finds out."""

    code = "unavailable"
    status = 503
    title = "A store did not answer in time; retry with the same key"
    retry_after_seconds: ClassVar[int] = 1


class ConfigurationError(FlashstockError):
    """A setting, or the state of a store, with which the promises can't be kept."""

    code = "configuration"
    title = "The configuration can't be used"
