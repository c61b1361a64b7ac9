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
    │   ├── GroupOnly  NotAGroupBuy  GroupFull  GroupOver  GroupNotFormed
    │   ├── SeatsLimit  GroupsLimit  OpenLimit
    │   └── PoolExists  KeyExists  InsufficientStock  NotRecorded
    ├── NotFound (404)          UnknownPool  UnknownReservation  UnknownRefund  UnknownKey
    │                           UnknownPath  UnknownSku  UnknownLocation
    │                           UnknownMovement  UnknownPurchase  UnknownTransfer
    │                           UnknownStocktake  UnknownLot
    │                           UnknownChannel  UnknownOrder
    │                           UnknownCampaign  UnknownCampaignItem  UnknownBundle
    │                           UnknownPoolCommand  UnknownGroup  UnknownQuarantinedEvent
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

from flashstock.errors.groups import (
    GroupFull,
    GroupNotFormed,
    GroupOnly,
    GroupOver,
    GroupsLimit,
    NotAGroupBuy,
    OpenLimit,
    SeatsLimit,
    UnknownGroup,
)
from flashstock.errors.requests import (
    BodyTooLarge,
    FileRefused,
    Forbidden,
    IdempotencyKeyRequired,
    IdempotencyMismatch,
    InvalidRequest,
    KeyExists,
    MalformedRequest,
    Overloaded,
    RateLimited,
    Recovering,
    Unauthorized,
    UnknownKey,
    UnknownPath,
    UnsupportedMediaType,
    WrongMethod,
)
from flashstock.errors.root import (
    ConfigurationError,
    Denied,
    FlashstockError,
    Invalid,
    NotFound,
    Refused,
    Unavailable,
)
from flashstock.errors.sale import (
    AlreadyCancelled,
    AlreadyConfirmed,
    AlreadyReturned,
    BuyerLimit,
    Ended,
    InsufficientStock,
    NotConfirmed,
    NotEligible,
    NotRecorded,
    NotStarted,
    Paused,
    PaymentRefUsed,
    PoolExists,
    RefundDue,
    RefundSettled,
    ReservationExpired,
    SoldOut,
    UnknownPool,
    UnknownQuarantinedEvent,
    UnknownRefund,
    UnknownReservation,
)
from flashstock.errors.stock import (
    BalancePaid,
    BundleExists,
    CampaignItemFixed,
    CampaignOutdated,
    CaseResolved,
    DocumentClosed,
    LotStillValid,
    NoBalanceDue,
    NotReturnable,
    NotReversible,
    NotShippable,
    NotShipped,
    OwnStocktake,
    OwnSubmission,
    PoolOfBook,
    SplitNeeded,
    StocktakeOutdated,
    TooManyWebhooks,
    UnknownBundle,
    UnknownCampaign,
    UnknownCampaignItem,
    UnknownChannel,
    UnknownDelivery,
    UnknownLocation,
    UnknownLot,
    UnknownMovement,
    UnknownOrder,
    UnknownPaymentCase,
    UnknownPoolCommand,
    UnknownPurchase,
    UnknownSku,
    UnknownStocktake,
    UnknownTransfer,
    UnknownWebhook,
    WebhookDisabled,
    WrongCampaignState,
)

__all__ = [
    "AlreadyCancelled",
    "AlreadyConfirmed",
    "AlreadyReturned",
    "BalancePaid",
    "BodyTooLarge",
    "BundleExists",
    "BuyerLimit",
    "CampaignItemFixed",
    "CampaignOutdated",
    "CaseResolved",
    "ConfigurationError",
    "Denied",
    "DocumentClosed",
    "Ended",
    "FileRefused",
    "FlashstockError",
    "Forbidden",
    "GroupFull",
    "GroupNotFormed",
    "GroupOnly",
    "GroupOver",
    "GroupsLimit",
    "IdempotencyKeyRequired",
    "IdempotencyMismatch",
    "InsufficientStock",
    "Invalid",
    "InvalidRequest",
    "KeyExists",
    "LotStillValid",
    "MalformedRequest",
    "NoBalanceDue",
    "NotAGroupBuy",
    "NotConfirmed",
    "NotEligible",
    "NotFound",
    "NotRecorded",
    "NotReturnable",
    "NotReversible",
    "NotShippable",
    "NotShipped",
    "NotStarted",
    "OpenLimit",
    "Overloaded",
    "OwnStocktake",
    "OwnSubmission",
    "Paused",
    "PaymentRefUsed",
    "PoolExists",
    "PoolOfBook",
    "RateLimited",
    "Recovering",
    "RefundDue",
    "RefundSettled",
    "Refused",
    "ReservationExpired",
    "SeatsLimit",
    "SoldOut",
    "SplitNeeded",
    "StocktakeOutdated",
    "TooManyWebhooks",
    "Unauthorized",
    "Unavailable",
    "UnknownBundle",
    "UnknownCampaign",
    "UnknownCampaignItem",
    "UnknownChannel",
    "UnknownDelivery",
    "UnknownGroup",
    "UnknownKey",
    "UnknownLocation",
    "UnknownLot",
    "UnknownMovement",
    "UnknownOrder",
    "UnknownPath",
    "UnknownPaymentCase",
    "UnknownPool",
    "UnknownPoolCommand",
    "UnknownPurchase",
    "UnknownQuarantinedEvent",
    "UnknownRefund",
    "UnknownReservation",
    "UnknownSku",
    "UnknownStocktake",
    "UnknownTransfer",
    "UnknownWebhook",
    "UnsupportedMediaType",
    "WebhookDisabled",
    "WrongCampaignState",
    "WrongMethod",
]
