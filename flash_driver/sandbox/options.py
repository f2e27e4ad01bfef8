"""What a sandbox can be told: one frozen value, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import ip_address
from typing import Final, Literal, TypeAlias, get_args

from flash_driver.sandbox.bank.rate_limit import RateLimit
from flash_driver.sandbox.bank.signer import Network
from flash_driver.sandbox.schema.complexity import MAX_COMPLEXITY

__all__ = [
    "DEFAULT_KEY_LIMIT",
    "SCOPES",
    "Currency",
    "CutoverState",
    "HttpBearer",
    "InvoiceRounding",
    "InvoiceUnit",
    "MigrationState",
    "Network",
    "RepeatedSend",
    "SandboxOptions",
    "WsMutations",
    "is_loopback",
]

Currency: TypeAlias = Literal["USD", "USDT", "BTC"]
WsMutations: TypeAlias = Literal["accept", "decline", "close"]
HttpBearer: TypeAlias = Literal["accept", "reject"]
InvoiceUnit: TypeAlias = Literal["sat", "msat"]
InvoiceRounding: TypeAlias = Literal["half-even", "down", "up"]
DescriptionHash: TypeAlias = Literal["drop", "honour"]
CutoverState: TypeAlias = Literal["PRE", "IN_PROGRESS", "COMPLETE", "ROLLED_BACK"]
"""How far the move of all accounts from USD to USDT is; public."""

MigrationState: TypeAlias = Literal["NOT_BEGUN", "MOVING", "COMPLETE", "FAILED"]
"""How far one account is; it counts only while the move of all is IN_PROGRESS."""

RepeatedSend: TypeAlias = Literal["refuse", "pay"]

SCOPES: Final = (
    "read:wallet",
    "write:wallet",
    "read:transactions",
    "write:transactions",
    "read:user",
    "write:user",
    "admin",
)
"""What an API key can be allowed to do."""

DEFAULT_KEY_LIMIT: Final = 120
"""Requests per minute of an API key that was made without a limit of its own."""

_CHOICES: Final[dict[str, tuple[str | None, ...]]] = {
    "ws_mutations": get_args(WsMutations),
    "http_bearer": get_args(HttpBearer),
    "invoice_unit": get_args(InvoiceUnit),
    "invoice_rounding": get_args(InvoiceRounding),
    "description_hash": get_args(DescriptionHash),
    "repeated_send": get_args(RepeatedSend),
    "cutover": (None, *get_args(CutoverState)),
    "migration": get_args(MigrationState),
    "network": get_args(Network),
}
_SHORTEST_TICK: Final = 0.001
_LONGEST_WAIT: Final = 3600


def is_loopback(host: str) -> bool:
    """Whether a host name or address is reachable from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, kw_only=True)
class SandboxOptions:
    """How one sandbox behaves. The defaults imitate Flash's public server as it is today.

    Attributes:
        host: Address to bind to; loopback unless a container needs more.
        port: Port to bind to; 0 takes a free one.
        public_host: The host that the connection string names; by default the one that was bound to.
        username: The name of the account.
        token: The session token of the account; by default a new one. The same name and token give the same ids of
            account and wallets.
        phone: The phone that logs in to the account.
        phone_code: The code that is "sent" to it.
        totp_code: The TOTP code that a login needs as well; by default it needs none.
        api_key: The API key of the account; by default a new one.
        api_key_scopes: What that key may do.
        api_key_limit: How many requests a minute it may make.
        network: The network that invoices are for.
        ws_mutations: What becomes of a query or mutation on the socket: executed, declined, or the socket closed.
        http_bearer: Whether HTTP takes session tokens (API keys are always taken).
        router: Whether errors over HTTP pass through a router that drops their `code`.
        wallets: The currencies of the account's wallets.
        external_wallet: Whether the account also has a wallet that Flash does not hold.
        btc_wallet: Whether the account has a BTC wallet that `lnInvoiceCreate` works with. One among `wallets` is what
            Flash calls a BTC wallet today: it is shown, and nothing works with it.
        cutover: How far the move from USD to USDT is. By default it is complete where there is a USDT wallet and no
            USD one, else it has not begun.
        migration: How far the account's own move is; it counts while `cutover` is IN_PROGRESS.
        display_currency: What the account's prices are shown in.
        balance_cents: What each wallet starts with, in cents (a BTC wallet: in satoshis).
        usd_per_btc: The price service's rate at the start.
        spread: How much lower than the price service the custodian values a bitcoin: 0.004 is 0.4 %.
        drift_percent_per_minute: How fast both rates move.
        invoice_unit: Whether the custodian's invoices are whole satoshis or whole millisatoshis.
        invoice_rounding: How it gets there.
        invoice_expiry_seconds: The longest life of an invoice, whatever is asked. BOLT11 counts whole seconds from the
            last full one, so an invoice lives up to a second less: 1 may be over at once.
        description_hash: Whether a description hash is silently dropped, as Flash does, or committed to.
        send_fee_percent: What a payment out of the sandbox costs.
        repeated_send: Whether the custodian refuses to pay a BOLT11 twice, or the worst case: pays again.
        rate_limit: Invoice creations per seconds and account, as `20/120`, or `off`.
        max_complexity: How much one document may ask for, where each Lightning mutation counts 120.
        price_tick_seconds: How often `myUpdates` tells the price.
        init_timeout_seconds: How long a socket may take to send `connection_init`.
        ping_seconds: How often a socket is pinged; a peer that misses a whole round is dropped.
        lock_wait_seconds: How long a send waits for another with the same idempotency key.
        custodian_seconds: How long the custodian takes for an invoice, a payment or a fee probe.

    """

    host: str = "127.0.0.1"
    port: int = 0
    public_host: str | None = None
    username: str = "merchant"
    token: str | None = field(default=None, repr=False)
    phone: str = "+12025550148"
    phone_code: str = field(default="123456", repr=False)
    totp_code: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    api_key_scopes: tuple[str, ...] = ("read:user", "write:wallet", "read:transactions")
    api_key_limit: int = DEFAULT_KEY_LIMIT
    network: Network = "regtest"
    ws_mutations: WsMutations = "decline"
    http_bearer: HttpBearer = "accept"
    router: bool = False
    wallets: tuple[Currency, ...] = ("USD",)
    external_wallet: bool = False
    btc_wallet: bool = False
    cutover: CutoverState | None = None
    migration: MigrationState = "NOT_BEGUN"
    display_currency: str = "USD"
    balance_cents: Decimal = Decimal(1_000_000)
    usd_per_btc: Decimal = Decimal("97531.86")
    spread: Decimal = Decimal("0.004")
    drift_percent_per_minute: Decimal = Decimal(0)
    invoice_unit: InvoiceUnit = "msat"
    invoice_rounding: InvoiceRounding = "half-even"
    invoice_expiry_seconds: int = 60
    description_hash: DescriptionHash = "drop"
    send_fee_percent: Decimal = Decimal("0.5")
    repeated_send: RepeatedSend = "refuse"
    rate_limit: str = "20/120"
    max_complexity: int = MAX_COMPLEXITY
    price_tick_seconds: float = 30.0
    init_timeout_seconds: float = 3.0
    ping_seconds: float = 12.0
    lock_wait_seconds: float = 1.5
    custodian_seconds: float = 0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(each for each in choices if each)}")
        self._check_account()
        if self.invoice_expiry_seconds < 1:
            raise ValueError("invoice_expiry_seconds must be at least 1")
        if not self.price_tick_seconds >= _SHORTEST_TICK:
            raise ValueError(f"price_tick_seconds must be at least {_SHORTEST_TICK}")
        if not 0 <= self.custodian_seconds <= _LONGEST_WAIT:
            raise ValueError(f"custodian_seconds must lie between 0 and {_LONGEST_WAIT}")
        RateLimit.parse(self.rate_limit)

    def _check_account(self) -> None:
        if not self.currencies:
            raise ValueError("an account needs a wallet")
        for currency in self.wallets:
            if currency not in get_args(Currency):
                raise ValueError(f"a wallet's currency must be one of {', '.join(get_args(Currency))}")
        for scope in self.api_key_scopes:
            if scope not in SCOPES:
                raise ValueError(f"api_key_scopes must be among {', '.join(SCOPES)}")
        if self.api_key_limit < 1:
            raise ValueError("api_key_limit must be at least 1")

    @property
    def currencies(self) -> tuple[Currency, ...]:
        """The currencies of all wallets, each once."""
        wallets = (*self.wallets, "BTC") if self.btc_wallet else self.wallets
        return tuple(dict.fromkeys(wallets))

    @property
    def cutover_state(self) -> CutoverState:
        """How far the move from USD to USDT is at the start."""
        moved = "USDT" in self.wallets and "USD" not in self.wallets
        return self.cutover or ("COMPLETE" if moved else "PRE")

    @property
    def loopback(self) -> bool:
        """Whether the sandbox can be reached from this machine only."""
        return is_loopback(self.host)

    @property
    def advertised_host(self) -> str:
        """The host that clients are told: never the address that means "all of them"."""
        if self.public_host is not None:
            return self.public_host
        return "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104 - compared, not bound to
