"""Every error a caller can meet, with its stable code and HTTP status.

    FlashstockError
    ├── Refused (409)           the sale says no; a value on the hot path, an exception elsewhere
    │   ├── SoldOut  BuyerLimit  NotStarted  Ended  Paused  NotEligible
    │   ├── ReservationExpired  AlreadyCancelled  AlreadyConfirmed  AlreadyReturned  NotConfirmed
    │   ├── RefundDue  PaymentRefUsed  RefundSettled
    │   ├── NotReversible  DocumentClosed  StocktakeOutdated  OwnStocktake  LotStillValid
    │   ├── NotShippable  SplitNeeded  NotShipped  NotReturnable
    │   ├── WebhookDisabled  TooManyWebhooks  CaseResolved
    │   ├── CampaignOutdated  WrongCampaignState  OwnSubmission  CampaignItemFixed  BundleExists
    │   ├── BalancePaid  NoBalanceDue  PoolOfBook
    │   └── PoolExists  KeyExists  InsufficientStock  NotRecorded
    ├── NotFound (404)          UnknownPool  UnknownReservation  UnknownRefund  UnknownKey
    │                           UnknownPath  UnknownSku  UnknownLocation
    │                           UnknownMovement  UnknownPurchase  UnknownTransfer
    │                           UnknownStocktake  UnknownLot
    │                           UnknownChannel  UnknownOrder
    │                           UnknownCampaign  UnknownCampaignItem  UnknownBundle
    │                           UnknownPoolCommand
    │                           UnknownWebhook  UnknownDelivery  UnknownPaymentCase
    ├── Invalid (4xx)           InvalidRequest  IdempotencyMismatch  IdempotencyKeyRequired
    │                           BodyTooLarge  UnsupportedMediaType  WrongMethod
    │                           MalformedRequest  FileRefused
    ├── Denied (4xx)            Unauthorized  Forbidden  RateLimited
    ├── Unavailable (503)       Recovering  Overloaded  (always with Retry-After)
    └── ConfigurationError      start-up only: never an HTTP answer

``code`` is part of the interface: it is never renamed. ``title`` is what a person reads.
"""

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


class SoldOut(Refused):
    code = "sold_out"
    title = "Not enough units are left"


class BuyerLimit(Refused):
    code = "buyer_limit"
    title = "The buyer has reached the limit of this pool"


class NotStarted(Refused):
    code = "not_started"
    title = "The sale has not started"


class Ended(Refused):
    code = "ended"
    title = "The sale has ended"


class Paused(Refused):
    code = "paused"
    title = "The sale is paused"


class NotEligible(Refused):
    code = "not_eligible"
    title = "The buyer is not eligible for this sale"


class ReservationExpired(Refused):
    code = "reservation_expired"
    title = "The hold has expired"


class AlreadyCancelled(Refused):
    code = "already_cancelled"
    title = "The reservation was cancelled"


class AlreadyConfirmed(Refused):
    code = "already_confirmed"
    title = "The reservation is already confirmed"


class AlreadyReturned(Refused):
    code = "already_returned"
    title = "The units were already returned"


class NotConfirmed(Refused):
    code = "not_confirmed"
    title = "Only a confirmed reservation can be returned"


class RefundDue(Refused):
    code = "refund_due"
    title = "Paid too late and no stock is left: a refund is due and on record"


class PaymentRefUsed(Refused):
    code = "payment_ref_used"
    title = "This payment already confirmed another reservation"


class RefundSettled(Refused):
    code = "refund_settled"
    title = "The refund was settled under another reference"


class PoolExists(Refused):
    code = "pool_exists"
    title = "A pool of this id exists with other settings"


class KeyExists(Refused):
    code = "key_exists"
    title = "There is, or was, an API key of this name"


class InsufficientStock(Refused):
    code = "insufficient_stock"
    title = "There are not enough units where they should come from"


class NotReversible(Refused):
    code = "not_reversible"
    title = "This movement can't be reversed"


class DocumentClosed(Refused):
    code = "document_closed"
    title = "The document is closed: nothing of it is left to do"


class StocktakeOutdated(Refused):
    code = "stocktake_outdated"
    title = "Goods have moved since they were counted: count again"


class CampaignOutdated(Refused):
    code = "campaign_outdated"
    title = "The campaign has another revision by now"


class WrongCampaignState(Refused):
    code = "wrong_campaign_state"
    title = "In this state a campaign can't do that"


class OwnSubmission(Refused):
    code = "own_submission"
    title = "Whoever submitted a campaign can't approve it"


class CampaignItemFixed(Refused):
    code = "campaign_item_fixed"
    title = "What an item sells can't change once stock was set aside for it"


class BundleExists(Refused):
    code = "bundle_exists"
    title = "There is a bundle of this SKU with other components"


class BalancePaid(Refused):
    code = "balance_paid"
    title = "The balance of this order was paid with another payment"


class NoBalanceDue(Refused):
    code = "no_balance_due"
    title = "Nothing but the order's own payment is due"


class PoolOfBook(Refused):
    code = "pool_of_book"
    title = "The pool's units come from the stock book: change them there"


class OwnStocktake(Refused):
    code = "own_stocktake"
    title = "Whoever counted can't approve the count"


class LotStillValid(Refused):
    code = "lot_still_valid"
    title = "The lot is guaranteed for longer than now"


class WebhookDisabled(Refused):
    code = "webhook_disabled"
    title = "The webhook is told nothing at present"


class TooManyWebhooks(Refused):
    code = "too_many_webhooks"
    title = "There are as many webhooks as there may be"


class CaseResolved(Refused):
    code = "case_resolved"
    title = "The case was resolved with another note"


class NotShippable(Refused):
    code = "not_shippable"
    title = "The order has nothing that may be shipped"


class SplitNeeded(Refused):
    code = "split_needed"
    title = "No single location has everything, and the order may not be split"


class NotShipped(Refused):
    code = "not_shipped"
    title = "The order has not been shipped"


class NotReturnable(Refused):
    code = "not_returnable"
    title = "That many units of the order can't come back"


class NotRecorded(Refused):
    """What Redis decided contradicts SQL, which is the truth: it does not count."""

    code = "not_recorded"
    title = "The ledger refused to record it, so it does not count"


class NotFound(FlashstockError):
    code = "not_found"
    status = 404
    title = "Not found"


class UnknownRefund(NotFound):
    code = "unknown_refund"
    title = "There is no such refund"


class UnknownKey(NotFound):
    code = "unknown_key"
    title = "There is no API key of this name"


class UnknownPath(NotFound):
    code = "unknown_path"
    title = "There is nothing at this path"


class UnknownPool(NotFound):
    code = "unknown_pool"
    title = "There is no such pool"


class UnknownSku(NotFound):
    code = "unknown_sku"
    title = "There is no such SKU"


class UnknownLocation(NotFound):
    code = "unknown_location"
    title = "There is no such location"


class UnknownMovement(NotFound):
    code = "unknown_movement"
    title = "There is no such stock movement"


class UnknownPurchase(NotFound):
    code = "unknown_purchase"
    title = "There is no such purchase"


class UnknownTransfer(NotFound):
    code = "unknown_transfer"
    title = "There is no such transfer"


class UnknownStocktake(NotFound):
    code = "unknown_stocktake"
    title = "There is no such stocktake"


class UnknownLot(NotFound):
    code = "unknown_lot"
    title = "There is no such lot"


class UnknownWebhook(NotFound):
    code = "unknown_webhook"
    title = "There is no such webhook"


class UnknownDelivery(NotFound):
    code = "unknown_delivery"
    title = "There is no such delivery"


class UnknownPaymentCase(NotFound):
    code = "unknown_payment_case"
    title = "There is no such payment case"


class UnknownChannel(NotFound):
    code = "unknown_channel"
    title = "There is no such channel"


class UnknownOrder(NotFound):
    code = "unknown_order"
    title = "There is no such order"


class UnknownCampaign(NotFound):
    code = "unknown_campaign"
    title = "There is no such campaign"


class UnknownCampaignItem(NotFound):
    code = "unknown_campaign_item"
    title = "The campaign has no such item"


class UnknownBundle(NotFound):
    code = "unknown_bundle"
    title = "There is no such bundle"


class UnknownPoolCommand(NotFound):
    code = "unknown_pool_command"
    title = "There is no such command under way"


class UnknownReservation(NotFound):
    code = "unknown_reservation"
    title = "There is no such reservation"


class Invalid(FlashstockError):
    code = "invalid"
    status = 422
    title = "Invalid"


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


class Denied(FlashstockError):
    code = "denied"
    status = 403
    title = "Denied"


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


class Unavailable(FlashstockError):
    """A 503. The request may have taken effect: the same key finds out."""

    code = "unavailable"
    status = 503
    title = "A store did not answer in time; retry with the same key"
    retry_after_seconds: ClassVar[int] = 1


class Recovering(Unavailable):
    code = "recovering"
    title = "The reservation store is being recovered; retry with the same key"


class Overloaded(Unavailable):
    code = "overloaded"
    title = "Too many requests are waiting; retry with the same key"


class ConfigurationError(FlashstockError):
    """A setting, or the state of a store, with which the promises can't be kept."""

    code = "configuration"
    title = "The configuration can't be used"
