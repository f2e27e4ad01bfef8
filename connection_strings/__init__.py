"""What a host and its Lightning drivers agree on: connection strings, the client interface, and its values.

No network and no third-party import: everything here is text, numbers and promises. A host starts with
`LightningClientFactory`; a driver implements `LightningConnectionStringHandler` and `LightningClient`. Names are loaded
when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it; importing it from typing would cost more than all the rest
if TYPE_CHECKING:
    from connection_strings.checks import read_payment_hash
    from connection_strings.errors import (
        AmountMismatch,
        BackendUnavailable,
        ConnectionStringError,
        CredentialRejected,
        InvalidReply,
        InvalidRequest,
        LightningError,
        NotSupported,
        RateLimited,
        RequestRefused,
        UnknownConnectionType,
    )
    from connection_strings.extensions import BackendHealth, TellsHealth, WarmsUp, WatchHealth
    from connection_strings.factory import LightningClientFactory, LightningConnectionStringHandler
    from connection_strings.grammar import ConnectionString
    from connection_strings.keys import canonical_values
    from connection_strings.lightning import (
        BalanceEstimate,
        ConnectionResult,
        CreateInvoiceParams,
        KeysendParams,
        LightningChannel,
        LightningClient,
        LightningInvoice,
        LightningInvoiceListener,
        LightningInvoiceStatus,
        LightningNodeBalance,
        LightningNodeInformation,
        LightningPayment,
        LightningPaymentStatus,
        ListInvoicesParams,
        ListPaymentsParams,
        OffchainBalance,
        OnchainBalance,
        OpenChannelResult,
        PayDetails,
        PayInvoiceParams,
        PayResponse,
        PayResult,
    )
    from connection_strings.money import LightMoney
    from connection_strings.payable_order import PayableOrder
    from connection_strings.secret import Secret

__all__ = [
    "AmountMismatch",
    "BackendHealth",
    "BackendUnavailable",
    "BalanceEstimate",
    "ConnectionResult",
    "ConnectionString",
    "ConnectionStringError",
    "CreateInvoiceParams",
    "CredentialRejected",
    "InvalidReply",
    "InvalidRequest",
    "KeysendParams",
    "LightMoney",
    "LightningChannel",
    "LightningClient",
    "LightningClientFactory",
    "LightningConnectionStringHandler",
    "LightningError",
    "LightningInvoice",
    "LightningInvoiceListener",
    "LightningInvoiceStatus",
    "LightningNodeBalance",
    "LightningNodeInformation",
    "LightningPayment",
    "LightningPaymentStatus",
    "ListInvoicesParams",
    "ListPaymentsParams",
    "NotSupported",
    "OffchainBalance",
    "OnchainBalance",
    "OpenChannelResult",
    "PayDetails",
    "PayInvoiceParams",
    "PayResponse",
    "PayResult",
    "PayableOrder",
    "RateLimited",
    "RequestRefused",
    "Secret",
    "TellsHealth",
    "UnknownConnectionType",
    "WarmsUp",
    "WatchHealth",
    "canonical_values",
    "read_payment_hash",
]

_HOMES = dict.fromkeys(__all__, "lightning") | {
    "AmountMismatch": "errors",
    "BackendHealth": "extensions",
    "BackendUnavailable": "errors",
    "BalanceEstimate": "node",
    "ConnectionResult": "node",
    "ConnectionString": "grammar",
    "CreateInvoiceParams": "invoices",
    "KeysendParams": "payments",
    "LightningChannel": "node",
    "LightningInvoice": "invoices",
    "LightningInvoiceStatus": "invoices",
    "LightningNodeBalance": "node",
    "LightningNodeInformation": "node",
    "ListInvoicesParams": "invoices",
    "OffchainBalance": "node",
    "OnchainBalance": "node",
    "OpenChannelResult": "node",
    "ConnectionStringError": "errors",
    "CredentialRejected": "errors",
    "InvalidReply": "errors",
    "InvalidRequest": "errors",
    "LightMoney": "money",
    "LightningClientFactory": "factory",
    "LightningConnectionStringHandler": "factory",
    "LightningError": "errors",
    "NotSupported": "errors",
    "RateLimited": "errors",
    "RequestRefused": "errors",
    "PayableOrder": "payable_order",
    "PayResult": "payments",
    "PayResponse": "payments",
    "PayInvoiceParams": "payments",
    "PayDetails": "payments",
    "ListPaymentsParams": "payments",
    "LightningPaymentStatus": "payments",
    "LightningPayment": "payments",
    "Secret": "secret",
    "TellsHealth": "extensions",
    "UnknownConnectionType": "errors",
    "WarmsUp": "extensions",
    "WatchHealth": "extensions",
    "canonical_values": "keys",
    "read_payment_hash": "checks",
}
"""The module that each name is loaded from."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - with the names themselves

    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
