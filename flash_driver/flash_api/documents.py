"""The GraphQL operations of Flash: the documents that are sent.

Field and type names are Flash's (flash-server.md 3). A document is sent as it is written here; the parser of gql, which
the suite checks each with, is loaded only where a request goes through gql's own client.
One `ln...` field per document: each costs 120 of the server's complexity limit of 200 (flash-server.md 1.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from flash_driver.common import exact_json as wire
from flash_driver.flash_api.outcomes import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from graphql import DocumentNode

__all__ = [
    "ACCOUNT",
    "BALANCE",
    "BALANCE_UPDATES",
    "FEE_PROBE",
    "FEE_PROBE_NO_AMOUNT",
    "INVOICE_CREATE_BTC",
    "INVOICE_CREATE_NO_AMOUNT",
    "INVOICE_CREATE_ON_BEHALF",
    "INVOICE_CREATE_USD",
    "INVOICE_STATUS",
    "ME",
    "ME_UPDATES",
    "MY_UPDATES",
    "NETWORK",
    "NETWORK_AND_PRICE",
    "PAY",
    "PAY_NO_AMOUNT",
    "PRICE",
    "PROBE",
    "TRANSACTIONS",
    "TRANSACTION_DETAILS",
    "Document",
    "Operation",
    "WriteMark",
]


@dataclass(frozen=True)
class Document:
    """One GraphQL operation of Flash.

    Attributes:
        name: Its operation name, also the name in logs.
        kind: What is at stake when its outcome is not known.
        source: The GraphQL text.
        field: The root field whose payload carries the answer; None when several fields are asked for.
        public: Whether anybody may ask it: then it is never sent with a credential that is refused.

    """

    name: str
    kind: Kind
    source: str
    field: str | None = None
    public: bool = False

    @cached_property
    def node(self) -> DocumentNode:
        """The document as gql parsed it; a syntax error shows here."""
        from gql import gql  # noqa: PLC0415 - most processes never send a request through gql's client

        return gql(self.source).document

    @cached_property
    def text(self) -> str:
        """The text that is sent, without what indents it here: blanks mean nothing in GraphQL (specification 2.1)."""
        return " ".join(self.source.split())

    @cached_property
    def head(self) -> bytes:
        """The request as JSON up to its variables, which are all that differs from one to the next."""
        return wire.write({"query": self.text, "operationName": self.name})[:-1] + b',"variables":'

    def __call__(self, *, repeatable: bool | None = None, **variables: object) -> Operation:
        """Make an operation of it; a payment is repeatable only when it carries an idempotency key."""
        safe = self.kind is not Kind.SEND if repeatable is None else repeatable
        return Operation(self, variables, repeatable=safe)


def _nothing() -> None:
    """Ask for no word before writing."""


@dataclass(slots=True)
class WriteMark:
    """Notes whether an operation may have been written: what its `about_to_write` can be.

    Attributes:
        before: Told as well.
        begun: Whether its first byte may have been written.

    """

    before: Callable[[], None] = _nothing
    begun: bool = False

    def __call__(self) -> None:
        """Note that its first byte may be written from now on."""
        self.begun = True
        self.before()


@dataclass(frozen=True, slots=True)
class Operation:
    """A document with its variables, ready to be sent.

    Attributes:
        document: What is asked.
        variables: The values asked with.
        repeatable: Whether sending it twice does no more harm than sending it once.
        fresh_connection: Whether HTTP has to open a connection for it. A connection that was kept may be closed by a
            gateway in the very moment of writing, and nobody could tell whether the request was read.
        about_to_write: Called before its first byte may be written; what was never written was never executed.

    """

    document: Document
    variables: Mapping[str, object]
    repeatable: bool
    fresh_connection: bool = False
    about_to_write: Callable[[], None] = _nothing

    @property
    def payload(self) -> dict[str, Any]:
        """The request as GraphQL over HTTP and graphql-transport-ws spell it."""
        return {
            "query": self.document.text,
            "operationName": self.document.name,
            "variables": self.variables,
        }

    @property
    def written(self) -> bytes:
        """The same as JSON: only the variables are written each time."""
        return self.document.head + wire.write(self.variables) + b"}"


_PRICE_FIELDS: Final = """
    realtimePrice(currency: "USD") {
      timestamp
      btcSatPrice { base offset }
    }
"""
_ME_FIELDS: Final = """
    globals { network }
    me {
      defaultAccount {
        id
        defaultWalletId
        wallets { id walletCurrency isExternal }
      }
    }
"""

PROBE: Final = Document("Probe", Kind.ASK, "query Probe { __typename }")
"""Harmless; tells whether a socket executes anything but subscriptions (flash-server.md 2)."""

ACCOUNT: Final = Document("Account", Kind.ASK, f"query Account {{ __typename {_ME_FIELDS} {_PRICE_FIELDS} }}", "me")
"""Everything the first invoice needs, in one request; harmless, so it serves as the probe as well."""

ME: Final = Document("Me", Kind.ASK, f"query Me {{ __typename {_ME_FIELDS} }}", "me")
"""The same without the price, whose failure would take the whole answer down (its field is non-null)."""

PRICE: Final = Document("Price", Kind.ASK, f"query Price {{ {_PRICE_FIELDS} }}", "realtimePrice", public=True)

NETWORK: Final = Document("Network", Kind.ASK, "query Network { globals { network } }", public=True)
NETWORK_AND_PRICE: Final = Document(
    "NetworkAndPrice", Kind.ASK, f"query NetworkAndPrice {{ globals {{ network }} {_PRICE_FIELDS} }}", public=True
)
"""What `ACCOUNT` tells besides the account."""

BALANCE: Final = Document(
    "Balance",
    Kind.ASK,
    """
    query Balance {
      me { defaultAccount { id wallets { id walletCurrency isExternal balance } } }
    }
    """,
    "me",
)


def _invoice_create(name: str, field: str, input_type: str) -> Document:
    return Document(
        name,
        Kind.CREATE,
        f"""
        mutation {name}($input: {input_type}!) {{
          {field}(input: $input) {{
            errors {{ message code }}
            invoice {{ paymentRequest paymentHash }}
          }}
        }}
        """,
        field,
    )


INVOICE_CREATE_USD: Final = _invoice_create("InvoiceCreate", "lnUsdInvoiceCreate", "LnUsdInvoiceCreateInput")
INVOICE_CREATE_ON_BEHALF: Final = _invoice_create(
    "InvoiceCreateOnBehalf",
    "lnUsdInvoiceCreateOnBehalfOfRecipient",
    "LnUsdInvoiceCreateOnBehalfOfRecipientInput",
)
"""The one mutation that takes a description hash (flash-server.md 3.4)."""
INVOICE_CREATE_NO_AMOUNT: Final = _invoice_create(
    "InvoiceCreateNoAmount", "lnNoAmountInvoiceCreate", "LnNoAmountInvoiceCreateInput"
)
INVOICE_CREATE_BTC: Final = _invoice_create("InvoiceCreateBtc", "lnInvoiceCreate", "LnInvoiceCreateInput")

INVOICE_STATUS: Final = Document(
    "InvoiceStatus",
    Kind.ASK,
    """
    query InvoiceStatus($input: LnInvoicePaymentStatusInput!) {
      lnInvoicePaymentStatus(input: $input) {
        errors { message code }
        status
      }
    }
    """,
    "lnInvoicePaymentStatus",
    public=True,
)

MY_UPDATES: Final = Document(
    "MyUpdates",
    Kind.ASK,
    """
    subscription MyUpdates {
      myUpdates {
        errors { message code }
        update {
          __typename
          ... on LnUpdate { paymentHash status walletId }
          ... on RealtimePrice {
            timestamp
            denominatorCurrency
            btcSatPrice { base offset }
          }
        }
      }
    }
    """,
    "myUpdates",
)


def _me_updates(name: str, wallet_fields: str) -> Document:
    return Document(
        name,
        Kind.ASK,
        f"""
        subscription {name} {{
          myUpdates {{
            me {{ defaultAccount {{ id defaultWalletId wallets {{ {wallet_fields} }} }} }}
            update {{ __typename }}
          }}
        }}
        """,
    )


ME_UPDATES: Final = _me_updates("MeUpdates", "id walletCurrency isExternal")
"""Has the socket say whose account this is; ended at its first event with `me` (flash-server.md 11)."""
BALANCE_UPDATES: Final = _me_updates("BalanceUpdates", "id walletCurrency isExternal balance")


def _payment(name: str, field: str, input_type: str) -> Document:
    return Document(
        name,
        Kind.SEND,
        f"""
        mutation {name}($input: {input_type}!) {{
          {field}(input: $input) {{
            errors {{ message code }}
            status
          }}
        }}
        """,
        field,
    )


PAY: Final = _payment("Pay", "lnInvoicePaymentSend", "LnInvoicePaymentInput")
PAY_NO_AMOUNT: Final = _payment("PayNoAmount", "lnNoAmountUsdInvoicePaymentSend", "LnNoAmountUsdInvoicePaymentInput")
"""Has no idempotency key: never repeated (flash-server.md 3.7)."""


def _fee_probe(name: str, field: str, input_type: str) -> Document:
    return Document(
        name,
        Kind.ASK,
        f"""
        mutation {name}($input: {input_type}!) {{
          {field}(input: $input) {{
            errors {{ message code }}
            amount
            invoiceAmount
          }}
        }}
        """,
        field,
    )


FEE_PROBE: Final = _fee_probe("FeeProbe", "lnUsdInvoiceFeeProbe", "LnUsdInvoiceFeeProbeInput")
FEE_PROBE_NO_AMOUNT: Final = _fee_probe(
    "FeeProbeNoAmount", "lnNoAmountUsdInvoiceFeeProbe", "LnNoAmountUsdInvoiceFeeProbeInput"
)

TRANSACTIONS: Final = Document(
    "Transactions",
    Kind.ASK,
    """
    query Transactions($first: Int!) {
      me { defaultAccount { id transactions(first: $first) { edges { node { id direction createdAt } } } } }
    }
    """,
    "me",
)

TRANSACTION_DETAILS: Final = Document(
    "TransactionDetails",
    Kind.ASK,
    """
    query TransactionDetails($input: TransactionDetailsInput!) {
      transactionDetails(input: $input) {
        errors { message }
        transactionDetails { id accountId amount currency status paymentHash paymentPreimage }
      }
    }
    """,
    "transactionDetails",
)
