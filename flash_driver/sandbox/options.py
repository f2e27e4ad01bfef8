"""What a sandbox can be told: one frozen value, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import ip_address
from typing import Final, Literal, TypeAlias, get_args

from flash_driver.sandbox.bank.rate_limit import RateLimit
from flash_driver.sandbox.schema.complexity import MAX_COMPLEXITY

__all__ = [
    "Currency",
    "CutoverState",
    "HttpBearer",
    "InvoiceRounding",
    "InvoiceUnit",
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
RepeatedSend: TypeAlias = Literal["refuse", "pay"]
CutoverState: TypeAlias = Literal["PRE", "IN_PROGRESS", "COMPLETE", "ROLLED_BACK"]

_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "ws_mutations": get_args(WsMutations),
    "http_bearer": get_args(HttpBearer),
    "invoice_unit": get_args(InvoiceUnit),
    "invoice_rounding": get_args(InvoiceRounding),
    "description_hash": get_args(DescriptionHash),
    "repeated_send": get_args(RepeatedSend),
    "cutover": get_args(CutoverState),
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
    """How one sandbox behaves. The defaults imitate Flash as it is, but for a socket that executes mutations.

    Attributes:
        host: Address to bind to; loopback unless a container needs more.
        port: Port to bind to; 0 takes a free one.
        public_host: The host that the connection string names; by default the one that was bound to.
        token: The session token of the account; by default a new one.
        api_key: The API key of the account; by default a new one.
        ws_mutations: What becomes of a query or mutation on the socket: executed, declined, or the socket closed.
        http_bearer: Whether HTTP takes session tokens (API keys are always taken).
        router: Whether errors over HTTP pass through a router that drops their `code`.
        wallets: The currencies of the account's wallets.
        default_wallet: Currency of the default wallet; by default the first of `wallets`.
        external_wallet: Whether the account also has a wallet that Flash does not hold.
        btc_wallet: Whether the account has a BTC wallet that `lnInvoiceCreate` works with.
        cutover: How far the move from USD to USDT is; from IN_PROGRESS on it needs both wallets.
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
        price_tick_seconds: How often `myUpdates` hears of the price.
        init_timeout_seconds: How long a socket may take to send `connection_init`.
        ping_seconds: How often a socket is pinged; a peer that misses a whole round is dropped.
        lock_wait_seconds: How long a send waits for another with the same idempotency key.
        custodian_seconds: How long the custodian takes for an invoice, a payment or a fee probe.

    """

    host: str = "127.0.0.1"
    port: int = 0
    public_host: str | None = None
    token: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    ws_mutations: WsMutations = "accept"
    http_bearer: HttpBearer = "accept"
    router: bool = False
    wallets: tuple[Currency, ...] = ("USD",)
    default_wallet: Currency | None = None
    external_wallet: bool = False
    btc_wallet: bool = False
    cutover: CutoverState = "PRE"
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
                raise ValueError(f"{name} must be one of {', '.join(choices)}")
        for currency in (*self.wallets, self.default_currency):
            if currency not in get_args(Currency):
                raise ValueError(f"a wallet's currency must be one of {', '.join(get_args(Currency))}")
        if self.default_currency not in self.currencies:
            raise ValueError("default_wallet must be the currency of one of the wallets")
        if self.cutover in {"IN_PROGRESS", "COMPLETE"} and not {"USD", "USDT"} <= set(self.wallets):
            raise ValueError(f"cutover={self.cutover} needs both a USD and a USDT wallet")
        if self.invoice_expiry_seconds < 1:
            raise ValueError("invoice_expiry_seconds must be at least 1")
        if not self.price_tick_seconds >= _SHORTEST_TICK:
            raise ValueError(f"price_tick_seconds must be at least {_SHORTEST_TICK}")
        if not 0 <= self.custodian_seconds <= _LONGEST_WAIT:
            raise ValueError(f"custodian_seconds must lie between 0 and {_LONGEST_WAIT}")
        RateLimit.parse(self.rate_limit)

    @property
    def currencies(self) -> tuple[Currency, ...]:
        """The currencies of all wallets, each once."""
        wallets = (*self.wallets, "BTC") if self.btc_wallet else self.wallets
        return tuple(dict.fromkeys(wallets))

    @property
    def default_currency(self) -> Currency:
        """The currency of the default wallet."""
        return self.default_wallet or (self.currencies or ("USD",))[0]

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
