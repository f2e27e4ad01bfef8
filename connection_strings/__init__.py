"""What a host and its Lightning drivers agree on: connection strings, the client interface, and its values.

No network and no third-party import: everything here is text, numbers and promises. A host starts with
`LightningClientFactory`; a driver implements `LightningConnectionStringHandler` and `LightningClient`.
"""

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
from connection_strings.factory import LightningClientFactory, LightningConnectionStringHandler
from connection_strings.grammar import ConnectionString
from connection_strings.keys import canonical_values
from connection_strings.lightning import (
    BalanceEstimate,
    CreateInvoiceParams,
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
    PayDetails,
    PayInvoiceParams,
    PayResponse,
    PayResult,
)
from connection_strings.money import LightMoney
from connection_strings.secret import Secret

__all__ = [
    "AmountMismatch",
    "BackendUnavailable",
    "BalanceEstimate",
    "ConnectionString",
    "ConnectionStringError",
    "CreateInvoiceParams",
    "CredentialRejected",
    "InvalidReply",
    "InvalidRequest",
    "LightMoney",
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
    "PayDetails",
    "PayInvoiceParams",
    "PayResponse",
    "PayResult",
    "RateLimited",
    "RequestRefused",
    "Secret",
    "UnknownConnectionType",
    "canonical_values",
]
