"""One typed, frozen object holds every setting; a bad value names its key.

Settings come from ``FLASHSTOCK_*`` environment variables, or from the command line where a
command has a flag of that name. An empty variable counts as unset.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from flashstock.errors import ConfigurationError
from flashstock.model.addresses import parse_store_address
from flashstock.model.orders import SHARD_COUNT_MAX

ENVIRONMENT_PREFIX: Final = "FLASHSTOCK_"
WORKERS_MAX: Final = 64
RECEIPT_SECRET_LENGTH_MIN: Final = 16

REDIS_SCHEMES: Final = {
    "redis": "redis",
    "rediss": "rediss",
    "unix": "unix",
    "valkey": "redis",
    "valkeys": "rediss",
    "valkey+unix": "unix",
    "redis+sentinel": "redis+sentinel",
    "rediss+sentinel": "rediss+sentinel",
    "valkey+sentinel": "redis+sentinel",
    "valkeys+sentinel": "rediss+sentinel",
    "redis+cluster": "redis+cluster",
    "rediss+cluster": "rediss+cluster",
    "valkey+cluster": "redis+cluster",
    "valkeys+cluster": "rediss+cluster",
}
"""Accepted scheme → the one we know: the client library's, or one of ``model.addresses``."""
DATABASE_SCHEMES: Final = {
    "postgres": "postgresql",
    "postgresql": "postgresql",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite": "sqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}
_SENSITIVE: Final = frozenset(
    {"redis_url", "database_url", "admin_key", "receipt_keys", "storefront_key"}
)
"""Values that an error message never repeats."""
_ADMIN_KEY: Final = re.compile(r"[\x21-\x7e]{8,512}")
"""What an ``Authorization: Bearer`` header can carry."""
_RECEIPT_KEY: Final = re.compile(r"([A-Za-z0-9_-]{1,32}):([\x21-\x2b\x2d-\x7e]+)")
_PYDANTIC_SUBJECT: Final = re.compile(r"^(Value error, |(Input|Value|String) (?=should ))")

Milliseconds = Annotated[int, Field(ge=1, le=60_000)]


def default_data_dir() -> Path:
    """``~/.flashstock``, or ``./.flashstock`` for an account without a home."""
    try:
        return Path.home() / ".flashstock"
    except RuntimeError:
        return Path(".flashstock")


class Settings(BaseSettings):
    """Everything that can be set.

    With neither ``redis_url`` nor ``database_url``, ``serve`` runs embedded. With a database
    alone it runs the embedded Valkey in front of it. Times are milliseconds unless named
    otherwise.

    Raises:
        ConfigurationError: one readable line for each bad key. No secret is repeated.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
    )

    redis_url: str | None = None
    """Valkey or Redis: an address, ``redis+sentinel://``, ``redis+cluster://``; unset: embedded."""
    database_url: str | None = None
    """The ledger: ``postgresql://…`` or ``sqlite:///file``; unset: SQLite in the data directory."""
    data_dir: Path = Field(default_factory=default_data_dir)
    """Where the embedded stores live."""
    stores_embedded: bool = False
    """Set by ``serve`` for its own children: the URLs name the stores that it runs itself."""

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to bind; beyond loopback the service wants a key."""
    port: int = Field(default=8080, ge=0, le=65_535)
    """Port to bind; 0 takes any free one."""
    workers: int = Field(default=1, ge=1, le=WORKERS_MAX)
    """API processes: one for each core that nobody else needs."""
    http_server: Literal["uvicorn", "granian"] = "uvicorn"
    """``granian`` is slower with the lean routes, and refuses broken HTTP in its own way."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Logs are lines at a terminal and JSON elsewhere, on standard error."""

    tracing: bool = False
    """Whether OpenTelemetry spans are made; ``OTEL_*`` says how many and where they go."""

    shard_count: int = Field(default=1, ge=1, le=SHARD_COUNT_MAX)
    """Fixed at the first start. More than one only pays beyond one Valkey core."""
    admin_key: SecretStr | None = None
    """A key of role admin that is not stored anywhere."""
    receipt_keys: SecretStr | None = None
    """``id:secret,id:secret``: the first signs receipts, all verify; unset: one kept in SQL."""
    storefront_page: Literal["auto", "on", "off"] = "auto"
    """Whether there is a page at ``/demo``; ``auto``: where the service may run open."""
    storefront_key: SecretStr | None = None
    """The API key of that page's shop, of role storefront; none is needed while it runs open."""
    storefront_spread_ms: int = Field(default=2_000, ge=0, le=60_000)
    """Over how long that page spreads the requests of the first moments of a sale."""
    webhooks_private: bool = False
    """Whether webhooks may go to private addresses, and without TLS."""
    retention_hours: int = Field(default=24, ge=1, le=24 * 366)
    """How long after its deadline a reservation, and so its key, is remembered by Redis."""

    lane_batch_max: int = Field(default=128, ge=1, le=1_000)
    """Requests that one call of a script decides, at most."""
    lane_pending_max: int = Field(default=2_048, ge=1, le=1_000_000)
    """Requests that may wait in a process; those beyond are refused (``overloaded``)."""
    backlog_events_max: int = Field(default=100_000, ge=1, le=100_000_000)
    """Events SQL may be behind before admission stops (``overloaded``)."""
    sold_out_stale_ms: int = Field(default=50, ge=0, le=1_000)
    """How long "sold out" may be repeated without asking Redis."""
    redis_timeout_ms: Milliseconds = 1_000
    """For each call; beyond it the answer is ``unavailable``."""
    applied_timeout_ms: Milliseconds = 1_500
    """How long a request waits for its commit; beyond it the answer is ``unavailable``."""
    sweep_interval_ms: Milliseconds = 200
    """How often expired holds and due waves are looked for."""
    writer_batch_events_max: int = Field(default=2_048, ge=1, le=100_000)
    """Events in one transaction, at most."""
    log_margin_entries: int = Field(default=1_000, ge=0, le=10_000_000)
    """Applied entries that stay in the log, for reconciliation and slow readers."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as problem:
            raise ConfigurationError("\n".join(_lines(problem))) from None

    @field_validator("redis_url", mode="after")
    @classmethod
    def _redis_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        known = _with_known_scheme(url, REDIS_SCHEMES)
        parse_store_address(known)
        return known

    @field_validator("database_url", mode="after")
    @classmethod
    def _database_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        known = _with_known_scheme(url, DATABASE_SCHEMES)
        if known.startswith("sqlite") and known.endswith("/:memory:"):
            raise ValueError("several processes share the ledger: SQLite needs a file")
        return known

    @field_validator("data_dir", mode="after")
    @classmethod
    def _data_dir(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("admin_key", "storefront_key", mode="after")
    @classmethod
    def _api_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and _ADMIN_KEY.fullmatch(key.get_secret_value()) is None:
            raise ValueError("must be 8 to 512 visible ASCII characters without spaces")
        return key

    @field_validator("receipt_keys", mode="after")
    @classmethod
    def _receipt_keys(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            parse_receipt_keys(keys.get_secret_value())
        return keys

    @model_validator(mode="after")
    def _related(self) -> Self:
        """Limits that only make sense together; every broken one is named."""
        broken = []
        if self.redis_url is not None and self.database_url is None:
            broken.append(
                f"{key_of('database_url')}: is missing: {key_of('redis_url')} is set, and what"
                " Redis admits must be recorded somewhere; set both, or neither to run embedded"
            )
        for low, high, why in (
            ("lane_batch_max", "lane_pending_max", "a lane must be able to hold one batch"),
            (
                "lane_batch_max",
                "writer_batch_events_max",
                "the writer applies a batch in one transaction",
            ),
            (
                "writer_batch_events_max",
                "backlog_events_max",
                "admission would stop before the writer has one full batch",
            ),
        ):
            if getattr(self, low) > getattr(self, high):
                broken.append(
                    f"{key_of(low)}: {getattr(self, low)} is more than {key_of(high)}"
                    f" ({getattr(self, high)}): {why}"
                )
        if broken:
            raise ValueError("\n".join(broken))
        return self

    @property
    def embedded(self) -> bool:
        """Whether both stores are flashstock's own: in ``serve`` and in its children alike."""
        return self.stores_embedded or (self.redis_url is None and self.database_url is None)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the address that is bound."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def may_run_open(self) -> bool:
        """Whether requests need no key as long as none is stored: embedded, loopback, no admin."""
        return self.embedded and self.loopback and self.admin_key is None

    @property
    def has_storefront_page(self) -> bool:
        """Whether there is a page at ``/demo``."""
        return self.storefront_page == "on" or (
            self.storefront_page == "auto" and self.may_run_open
        )

    @property
    def may_tell_private_addresses(self) -> bool:
        """Whether webhooks may: where it is set, or where nobody else can ask for one anyway."""
        return self.webhooks_private or self.may_run_open

    @property
    def ledger_url(self) -> str:
        """The database, which embedded is a file in the data directory."""
        return self.database_url or f"sqlite:///{self.data_dir / 'ledger.db'}"

    @property
    def receipt_key_pairs(self) -> tuple[tuple[str, bytes], ...]:
        """Key id and secret, the signing one first; empty where none is set."""
        if self.receipt_keys is None:
            return ()
        return parse_receipt_keys(self.receipt_keys.get_secret_value())

    def changed(self, **changes: object) -> Settings:
        """A validated copy with some values changed."""
        return Settings(**{**self.model_dump(), **changes})

    def environment(self) -> dict[str, str]:
        """The variables from which a child process reads these same settings."""
        values = {}
        for name, value in self.model_dump().items():
            if value is not None:
                plain = value.get_secret_value() if isinstance(value, SecretStr) else value
                values[key_of(name)] = str(plain)
        return values


def key_of(field: str) -> str:
    """The name a field goes by outside: its environment variable."""
    return ENVIRONMENT_PREFIX + field.upper()


def unknown_keys(names: Iterable[str]) -> list[str]:
    """One line for each ``FLASHSTOCK_*`` name that only nearly is a setting: a likely slip."""
    known = [key_of(field) for field in Settings.model_fields]
    lines = []
    for name in sorted(names):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
            if near:
                lines.append(f"{name} is not a setting; did you mean {near[0]}?")
    return lines


def parse_receipt_keys(text: str) -> tuple[tuple[str, bytes], ...]:
    """Read ``id:secret,id:secret``. Raises ``ValueError`` without repeating a secret."""
    pairs: dict[str, bytes] = {}
    for number, part in enumerate(text.split(","), start=1):
        match = _RECEIPT_KEY.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"entry {number} is not 'id:secret' (id: A-Z a-z 0-9 _ -)")
        key_id, secret = match.groups()
        if len(secret) < RECEIPT_SECRET_LENGTH_MIN:
            raise ValueError(
                f"the secret of {key_id!r} has fewer than {RECEIPT_SECRET_LENGTH_MIN} characters"
            )
        if key_id in pairs:
            raise ValueError(f"the id {key_id!r} stands there twice")
        pairs[key_id] = secret.encode()
    return tuple(pairs.items())


def _with_known_scheme(url: str, schemes: dict[str, str]) -> str:
    scheme, separator, rest = url.strip().partition("://")
    known = schemes.get(scheme.lower())
    if not separator or known is None:
        names = ", ".join(f"{name}://" for name in schemes)
        raise ValueError(f"must begin with one of {names}")
    if not rest.strip("/"):
        raise ValueError("names no host and no file")
    return f"{known}://{rest}"


def _lines(problem: ValidationError) -> list[str]:
    """What is wrong, one line a key, in words for the person who set it."""
    lines = []
    for error in problem.errors(include_url=False):
        reason = _PYDANTIC_SUBJECT.sub("", error["msg"])
        if not error["loc"]:
            lines.append(reason)
            continue
        field = str(error["loc"][0])
        shown = "" if field in _SENSITIVE else f" (it is {error['input']!r})"
        if error["type"] == "extra_forbidden":
            reason, shown = "is not a setting", ""
        lines.append(f"{key_of(field)}: {reason}{shown}")
    return lines
