"""What is wrong with a request whatever it asks for, or with us."""

from __future__ import annotations

from flashstock.errors.root import Denied, Invalid, NotFound, Refused, Unavailable


class KeyExists(Refused):
    code = "key_exists"
    title = "There is, or was, an API key of this name"


class UnknownKey(NotFound):
    code = "unknown_key"
    title = "There is no API key of this name"


class UnknownPath(NotFound):
    code = "unknown_path"
    title = "There is nothing at this path"


class InvalidRequest(Invalid):
    code = "invalid_request"
    title = "The request is not valid"


class IdempotencyMismatch(Invalid):
    code = "idempotency_mismatch"
    title = "This idempotency key was used with another payload"


class IdempotencyKeyRequired(Invalid):
    code = "idempotency_key_required"
    status = 400
    title = "The Idempotency-Key header is required"


class BodyTooLarge(Invalid):
    code = "body_too_large"
    status = 413
    title = "The request body is too large"


class UnsupportedMediaType(Invalid):
    code = "unsupported_media_type"
    status = 415
    title = "The body must be application/json"


class WrongMethod(Invalid):
    code = "wrong_method"
    status = 405
    title = "This path does not take that method"


class MalformedRequest(Invalid):
    code = "malformed_request"
    status = 400
    title = "This is not an HTTP/1.1 request"


class FileRefused(Invalid):
    """``errors`` names lines and columns; nothing of the file was taken."""

    code = "file_refused"
    title = "The file can't be taken as it is"


class Unauthorized(Denied):
    code = "unauthorized"
    status = 401
    title = "An API key is required: Authorization: Bearer <key>"


class Forbidden(Denied):
    code = "forbidden"
    title = "This API key's role does not allow that"


class RateLimited(Denied):
    code = "rate_limited"
    status = 429
    title = "Too many requests"


class Recovering(Unavailable):
    code = "recovering"
    title = "The reservation store is being recovered; retry with the same key"


class Overloaded(Unavailable):
    code = "overloaded"
    title = "Too many requests are waiting; retry with the same key"
