"""What the stock book answers, and all that stands on it."""

from __future__ import annotations

from flashstock.errors.root import NotFound, Refused


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
