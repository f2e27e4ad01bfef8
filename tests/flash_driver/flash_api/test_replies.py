from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connection_strings import InvalidReply
from flash_driver.flash_api.replies import (
    AccountReply,
    BalanceReply,
    CreatedReply,
    Currency,
    FeeEstimate,
    InvoiceStatus,
    PriceTick,
    Received,
    Wallet,
    preimage_of,
    read_account,
    read_balances,
    read_created,
    read_fee_probe,
    read_invoice_status,
    read_price,
    read_price_time,
    read_receipt_hash,
    read_receive_ids,
    read_receive_times,
    read_received,
    read_tick,
    status_word,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PREIMAGE = "ab" * 32
PAYMENT_HASH = hashlib.sha256(bytes.fromhex(PREIMAGE)).hexdigest()
TICK = {"timestamp": 1_790_000_000, "btcSatPrice": {"base": 97531860000, "offset": 12}}
PRICE = PriceTick(Decimal("0.097531860000"), datetime.fromtimestamp(1_790_000_000, UTC))
WALLET = {"id": "w1", "walletCurrency": "USD", "isExternal": False}


def account(**fields: object) -> dict[str, Any]:
    """Return an answer to `Account`, with fields of the account replaced."""
    row = {"id": "a1", "defaultWalletId": "w1", "wallets": [WALLET], **fields}
    return {"globals": {"network": "regtest"}, "me": {"defaultAccount": row}, "realtimePrice": TICK}


def without(data: dict[str, Any], *path: str) -> dict[str, Any]:
    """Return data in which the value at the end of the path is missing."""
    key, *rest = path
    copy = dict(data)
    if rest:
        copy[key] = without(data[key], *rest)
    else:
        del copy[key]
    return copy


# --- account, balance, price ----------------------------------------------------------------------------------------


def test_account() -> None:
    """The account, its wallets, the network and the price are read in one go."""
    wallets = (Wallet("w1", "USD"), Wallet("w2", "MSATS", is_external=True))
    rows = [WALLET, {"id": "w2", "walletCurrency": "MSATS", "isExternal": True}]
    assert read_account(account(wallets=rows)) == AccountReply("a1", "w1", wallets, "regtest", PRICE)


@pytest.mark.parametrize("price", [None, "soon", [], {}, {"btcSatPrice": []}])
def test_account_with_a_price_that_makes_no_sense(price: object) -> None:
    """A broken price does no harm to the rest of the account."""
    assert read_account({**account(), "realtimePrice": price}).price is None


@pytest.mark.parametrize("network", [None, 5, {}])
def test_account_without_a_network(network: object) -> None:
    """A network that is no word is not known."""
    assert read_account({**account(), "globals": {"network": network}}).network is None
    assert read_account(without(account(), "globals")).network is None


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "me.defaultAccount"),
        ({"me": None}, "me.defaultAccount"),
        ({"me": {"defaultAccount": []}}, "me.defaultAccount"),
        (account(id=5), "id"),
        (account(defaultWalletId=None), "defaultWalletId"),
        (account(wallets=None), "wallets"),
        (account(wallets={}), "wallets"),
        (account(wallets=["secret"]), "id"),
        (account(wallets=[{"id": "secret"}]), "walletCurrency"),
        (account(wallets=[{"walletCurrency": "USD"}]), "id"),
    ],
)
def test_account_of_the_wrong_shape(data: dict[str, Any], field: str) -> None:
    """What is missing is named by its field, and no value is shown."""
    with pytest.raises(InvalidReply) as caught:
        read_account(data)
    assert str(caught.value) == f"the server's answer has no usable {field}"


def test_balances() -> None:
    """Each wallet comes with its exact balance; an external wallet has none."""
    rows = [
        {**WALLET, "balance": Decimal("1234.56789012")},
        {"id": "w2", "walletCurrency": "BTC", "balance": 21},
        {"id": "w3", "walletCurrency": "USDT", "isExternal": True, "balance": None},
    ]
    assert read_balances(account(wallets=rows)) == [
        BalanceReply(Wallet("w1", "USD"), Decimal("1234.56789012")),
        BalanceReply(Wallet("w2", "BTC"), Decimal(21)),
        BalanceReply(Wallet("w3", "USDT", is_external=True), None),
    ]


@pytest.mark.parametrize("value", ["5", True, [], {}, Decimal("1e999"), Decimal("-1e-999"), 10**40, Decimal("NaN")])
def test_balance_that_is_no_money(value: object) -> None:
    """A balance of the wrong type or beyond all bounds is not known, rather than wrong."""
    (balance,) = read_balances(account(wallets=[{**WALLET, "balance": value}]))
    assert balance.minor_units is None


def test_price() -> None:
    """Cents per satoshi are base / 10^offset (flash-server.md 3.3), exactly."""
    assert read_price({"realtimePrice": TICK}) == PRICE


@pytest.mark.parametrize(
    "broken",
    [
        {"btcSatPrice": None},
        {"btcSatPrice": {"base": 5}},
        {"btcSatPrice": {"offset": 12}},
        {"btcSatPrice": {"base": 0, "offset": 12}},
        {"btcSatPrice": {"base": -5, "offset": 12}},
        {"btcSatPrice": {"base": "5", "offset": 12}},
        {"btcSatPrice": {"base": Decimal("1e50"), "offset": 12}},
        {"btcSatPrice": {"base": 5, "offset": -1}},
        {"btcSatPrice": {"base": 5, "offset": 31}},
        {"btcSatPrice": {"base": 5, "offset": True}},
        {"btcSatPrice": {"base": 5, "offset": Decimal("1.5")}},
    ],
)
def test_price_that_can_not_be_one(broken: dict[str, object]) -> None:
    """A number that is no price is none, instead of a wrong one."""
    assert read_price({"realtimePrice": {**TICK, **broken}}) is None


@pytest.mark.parametrize("seconds", [None, 0, -5, True, "now", 10**15, 2**40, Decimal("1.5")])
def test_price_struck_at_no_time(seconds: object) -> None:
    """A price without a usable time counts as struck now."""
    before = datetime.now(UTC)
    tick = read_price({"realtimePrice": {**TICK, "timestamp": seconds}})
    assert tick is not None
    assert before <= tick.time <= datetime.now(UTC)
    assert read_price_time({"realtimePrice": {**TICK, "timestamp": seconds}}) is None


def test_time_of_the_price() -> None:
    """The server's own time is told apart from none; this machine's clock never stands in for it."""
    assert read_price_time({"realtimePrice": TICK}) == PRICE.time


def test_price_missing() -> None:
    """No price at all is a wrong answer to the question for it."""
    with pytest.raises(InvalidReply, match="realtimePrice"):
        read_price({})


def test_status_word() -> None:
    """What stands for a status is cut and masked, whatever it is."""
    assert status_word({"lnInvoicePaymentStatus": {"status": "HELD"}}) == "HELD"
    assert status_word({"lnInvoicePaymentStatus": None}) == "None"
    assert len(status_word({"lnInvoicePaymentStatus": {"status": "x" * 500}})) == 80


def test_fee() -> None:
    """A fee is read in cents; none told is None, no payload is wrong."""
    told = {"amount": Decimal("1.25"), "invoiceAmount": Decimal("97.5"), "errors": []}
    assert read_fee_probe({"f": told}, "f") == FeeEstimate(Decimal("1.25"), Decimal("97.5"))
    assert read_fee_probe({"f": {"amount": None}}, "f") == FeeEstimate(None, None)
    with pytest.raises(InvalidReply, match=r"no usable f$"):
        read_fee_probe({"f": None}, "f")


def test_currencies() -> None:
    """Dollar wallets are asked in cents, a bitcoin wallet is not."""
    assert [currency.in_cents for currency in (Currency.USD, Currency.USDT, Currency.BTC)] == [True, True, False]


# --- invoices -------------------------------------------------------------------------------------------------------


def test_created() -> None:
    """The BOLT11 is left as it is, to be checked by others; the hash is lower case."""
    data = {"f": {"errors": [], "invoice": {"paymentRequest": "LNBCRT1", "paymentHash": "AA" * 32}}}
    assert read_created(data, "f") == CreatedReply("LNBCRT1", "aa" * 32)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (None, "f.invoice"),
        ({}, "f.invoice"),
        ({"invoice": None}, "f.invoice"),
        ({"invoice": "lnbc"}, "f.invoice"),
        ({"invoice": {"paymentHash": "aa" * 32}}, "paymentRequest"),
        ({"invoice": {"paymentRequest": 5, "paymentHash": "aa" * 32}}, "paymentRequest"),
        ({"invoice": {"paymentRequest": "lnbc"}}, "paymentHash"),
        ({"invoice": {"paymentRequest": "lnbc", "paymentHash": ["secret"]}}, "paymentHash"),
        ({"invoice": {"paymentRequest": "lnbc", "paymentHash": "a" * 4_000_000}}, "paymentHash"),
    ],
)
def test_created_of_the_wrong_shape(payload: object, field: str) -> None:
    """An invoice without its BOLT11 or hash is refused, naming the field."""
    with pytest.raises(InvalidReply) as caught:
        read_created({"f": payload}, "f")
    assert str(caught.value) == f"the server's answer has no usable {field}"


@pytest.mark.parametrize("word", ["PENDING", "PAID", "EXPIRED"])
def test_invoice_status(word: str) -> None:
    """The three words that the server has are taken as they are."""
    assert read_invoice_status({"lnInvoicePaymentStatus": {"status": word}}) is InvoiceStatus(word)


@pytest.mark.parametrize(
    "payload", [None, [], {}, {"status": None}, {"status": "paid"}, {"status": "SETTLED"}, {"status": ["PAID"]}]
)
def test_invoice_status_that_is_not_known(payload: object) -> None:
    """Any other word is UNKNOWN, never a verdict."""
    assert read_invoice_status({"lnInvoicePaymentStatus": payload}) is InvoiceStatus.UNKNOWN


# --- transactions ---------------------------------------------------------------------------------------------------


def receipt(**fields: object) -> dict[str, Any]:
    """Return the details of a transaction that settled our invoice."""
    row = {"accountId": "w1", "amount": Decimal("1.2345"), "paymentHash": PAYMENT_HASH, "paymentPreimage": PREIMAGE}
    return {"transactionDetails": {"errors": [], "transactionDetails": {**row, **fields}}}


def test_receipt() -> None:
    """What came in is told in cents, with the preimage that proves it."""
    assert read_received(receipt(), PAYMENT_HASH, ("w0", "w1")) == Received(Decimal("123.45"), PREIMAGE)
    assert read_received(receipt(paymentHash=PAYMENT_HASH.upper()), PAYMENT_HASH, ("w1",)) is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"accountId": "another"},
        {"accountId": None},
        {"accountId": ["w1"]},
        {"paymentHash": "00" * 32},
        {"paymentHash": None},
        {"amount": None},
        {"amount": "1.2"},
        {"amount": Decimal("-1.2")},
        {"amount": 0},
    ],
)
def test_receipt_of_something_else(fields: dict[str, object]) -> None:
    """Another wallet, another hash, a send, or no amount: not what this invoice brought."""
    assert read_received(receipt(**fields), PAYMENT_HASH, ("w1",)) is None


@pytest.mark.parametrize("data", [{}, {"transactionDetails": None}, {"transactionDetails": {"transactionDetails": 5}}])
def test_no_receipt(data: dict[str, Any]) -> None:
    """No details are no receipt."""
    assert read_received(data, PAYMENT_HASH, ("w1",)) is None


def test_payment_secret_is_no_preimage() -> None:
    """What does not hash to the payment hash is not handed out as its preimage."""
    received = read_received(receipt(paymentPreimage="cd" * 32), PAYMENT_HASH, ("w1",))
    assert received == Received(Decimal("123.45"), None)


@pytest.mark.parametrize("value", [None, 5, "", "xyz", "ab", PREIMAGE + "ab", b"ab"])
def test_no_preimage(value: object) -> None:
    """Anything but the 32 bytes behind the hash is none."""
    assert preimage_of(PAYMENT_HASH, value) is None


def test_preimage_in_lower_case() -> None:
    """A preimage is handed out in lower-case hex."""
    assert preimage_of(PAYMENT_HASH, PREIMAGE.upper()) == PREIMAGE


def edges(*nodes: object) -> dict[str, Any]:
    """Return a page of transactions."""
    return {"me": {"defaultAccount": {"transactions": {"edges": [{"node": node} for node in nodes]}}}}


def test_receive_ids() -> None:
    """Receiving transactions are listed in the server's order, others left out."""
    rows = [{"id": str(number), "direction": "SEND" if number % 2 else "RECEIVE"} for number in range(5)]
    assert read_receive_ids(edges(*rows)) == ["0", "2", "4"]
    assert read_receive_ids(edges()) == []


def test_receive_ids_since() -> None:
    """What is older than asked for is left out; what does not tell its age is not."""
    rows = [{"id": str(at), "direction": "RECEIVE", "createdAt": at} for at in (99, 100, None, "x")]
    assert read_receive_ids(edges(*rows), 100) == ["100", "None", "x"]


def test_receive_times() -> None:
    """Each that tells a time tells when it came in."""
    rows = [{"id": str(at), "direction": "RECEIVE", "createdAt": at} for at in (100, None, "x", 0, 10**30)]
    assert read_receive_times(edges(*rows)) == {"100": datetime.fromtimestamp(100, UTC)}


def test_receipt_hash() -> None:
    """The hash is told in lower case, and only where there is one."""
    for value, told in (("AB" * 32, "ab" * 32), ("AB", None), ("", None), (None, None), (7, None)):
        assert read_receipt_hash({"transactionDetails": {"transactionDetails": {"paymentHash": value}}}) == told
    assert read_receipt_hash({"transactionDetails": None}) is None


@pytest.mark.parametrize("data", [{}, edges(None), edges("x"), edges({"direction": "RECEIVE"}), {"me": []}])
def test_receive_ids_of_the_wrong_shape(data: dict[str, Any]) -> None:
    """A page that is none is a wrong answer, not an empty one."""
    with pytest.raises(InvalidReply):
        read_receive_ids(data)


# --- anything at all ------------------------------------------------------------------------------------------------

KEYS = sorted(
    {
        *("me", "defaultAccount", "wallets", "id", "walletCurrency", "isExternal", "balance", "defaultWalletId"),
        *("globals", "network", "realtimePrice", "btcSatPrice", "base", "offset", "timestamp", "invoice", "f"),
        *("paymentRequest", "paymentHash", "lnInvoicePaymentStatus", "status", "amount", "myUpdates", "update"),
        *("__typename", "denominatorCurrency", "transactions", "edges", "node", "direction", "transactionDetails"),
        *("accountId", "paymentPreimage"),
    }
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals()
    | st.sampled_from(["USD", "PAID", "LnUpdate", "RealtimePrice", "RECEIVE", "w1", PAYMENT_HASH, "c0ffee-c0ffee"])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner), max_leaves=30
)
READERS: tuple[Callable[[Any], object], ...] = (
    read_account,
    read_balances,
    read_price,
    read_price_time,
    lambda data: read_created(data, "f"),
    read_invoice_status,
    lambda data: read_fee_probe(data, "f"),
    read_tick,
    read_receipt_hash,
    read_receive_ids,
    read_receive_times,
    lambda data: read_received(data, PAYMENT_HASH, ("w1",)),
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_readers_raise_nothing_else(data: dict[str, Any]) -> None:
    """Whatever a server makes up is read or is an InvalidReply that shows nothing of it."""
    for reader in READERS:
        try:
            reader(data)
        except InvalidReply as error:
            shown = str(error)
        else:
            shown = ""
        assert "c0ffee" not in shown


@given(LEAVES)
def test_every_leaf_may_be_anything(leaf: object) -> None:
    """Each single value of a good answer may be replaced by anything without harm."""
    price = {"timestamp": leaf, "btcSatPrice": {"base": leaf, "offset": leaf}}
    answers: tuple[tuple[Callable[[Any], object], dict[str, Any]], ...] = (
        (read_account, {**account(id=leaf, defaultWalletId=leaf), "realtimePrice": price}),
        (read_account, account(wallets=[{"id": leaf, "walletCurrency": leaf, "isExternal": leaf}])),
        (read_balances, account(wallets=[{**WALLET, "balance": leaf}])),
        (read_price, {"realtimePrice": price}),
        (read_price, {"realtimePrice": {**TICK, "btcSatPrice": {"base": leaf, "offset": 12}}}),
        (read_price, {"realtimePrice": {**TICK, "timestamp": leaf}}),
        (read_price_time, {"realtimePrice": {**TICK, "timestamp": leaf}}),
        (read_tick, price),
        (lambda data: read_received(data, PAYMENT_HASH, ("w1",)), receipt(amount=leaf, paymentPreimage=leaf)),
    )
    for reader, data in answers:
        try:
            reader(data)
        except InvalidReply as error:
            assert "usable" in str(error)  # noqa: PT017 - not raising is as good
