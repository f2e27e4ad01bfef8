from __future__ import annotations

import dataclasses
import hashlib
import inspect
import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import create_autospec

import pytest

from connection_strings import (
    BalanceEstimate,
    CreateInvoiceParams,
    InvalidRequest,
    KeysendParams,
    LightMoney,
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
    PayDetails,
    PayInvoiceParams,
    PayResponse,
    PayResult,
    lightning,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HASH = "ab" * 32
COFFEE_HASH = hashlib.sha256(b"coffee").hexdigest()

VALUES = [
    CreateInvoiceParams(),
    LightningInvoice(
        id=HASH,
        payment_hash=HASH,
        bolt11="lnbcrt1",
        status=LightningInvoiceStatus.UNPAID,
        expires_at=NOW,
        amount=LightMoney.from_sat(1_000),
    ),
    ListInvoicesParams(),
    ListPaymentsParams(),
    PayInvoiceParams(),
    PayDetails(payment_hash=HASH, status=LightningPaymentStatus.PENDING),
    PayResponse(result=PayResult.UNKNOWN),
    LightningPayment(
        id=HASH, payment_hash=HASH, bolt11="lnbcrt1", status=LightningPaymentStatus.COMPLETE, created_at=NOW
    ),
    KeysendParams(amount=LightMoney(1)),
    LightningChannel(
        remote_node="02" * 33,
        public=True,
        active=True,
        capacity=LightMoney(2),
        local_balance=LightMoney(1),
        channel_point=f"{HASH}:0",
    ),
    LightningNodeInformation(),
    OnchainBalance(),
    OffchainBalance(),
    BalanceEstimate(currency="USD", minor_units=Decimal(250), minor_units_per_sat=Decimal("0.1"), rate_time=NOW),
    LightningNodeBalance(),
]
each_value = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)


@each_value
def test_frozen(value: Any) -> None:
    """No field of any value can be changed, and none added."""
    for field in dataclasses.fields(value):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, None)
    with pytest.raises((AttributeError, TypeError)):
        value.surprise = 1


@each_value
def test_compared_by_content(value: Any) -> None:
    """A value equals its copy, can be hashed, and survives a pickle."""
    copies = {value, dataclasses.replace(value), pickle.loads(pickle.dumps(value))}  # noqa: S301 - made on this very line

    assert copies == {value}


def test_every_value_is_looked_at() -> None:
    """The values above are all that the module defines."""
    defined = {value for value in vars(lightning).values() if dataclasses.is_dataclass(value)}

    assert {type(value) for value in VALUES} == defined - {LightMoney}


class TestCreateInvoiceParams:
    """The terms of an invoice."""

    def test_defaults_are_those_of_btcpay(self) -> None:
        """Without terms: amountless, no description, fifteen minutes, a description and no hash, no hints."""
        params = CreateInvoiceParams()

        assert params.amountless
        assert params == CreateInvoiceParams(None, "", timedelta(minutes=15), False, False)  # noqa: FBT003 - the order of fields is looked at

    @pytest.mark.parametrize(
        ("amount", "amountless"),
        [(None, True), (LightMoney.ZERO, True), (LightMoney(1), False), (LightMoney.MAX, False)],
    )
    def test_amountless(self, amount: LightMoney | None, *, amountless: bool) -> None:
        """None and zero both mean that the payer chooses."""
        assert CreateInvoiceParams(amount=amount).amountless is amountless

    @pytest.mark.parametrize(
        ("terms", "message"),
        [
            ({"amount": LightMoney(-1)}, "amount: must not be negative; use zero for an amountless invoice"),
            ({"amount": 1_000}, "amount: must be LightMoney, not int"),
            ({"amount": 1.5}, "amount: must be LightMoney, not float"),
            ({"description": None}, "description: must be str, not NoneType"),
            ({"description": b"coffee"}, "description: must be str, not bytes"),
            ({"expiry": timedelta(0)}, "expiry: must be longer than zero; 15 minutes is usual"),
            ({"expiry": timedelta(seconds=-1)}, "expiry: must be longer than zero; 15 minutes is usual"),
            ({"expiry": 900}, "expiry: must be timedelta, not int"),
            ({"expiry": None}, "expiry: must be timedelta, not NoneType"),
            ({"description_hash": b"ab" * 32}, "description_hash: must be str, not bytes"),
            ({"description_hash": "ab" * 31}, "description_hash: must be 64 lower-case hexadecimal digits"),
            ({"description_hash": "AB" * 32}, "description_hash: must be 64 lower-case hexadecimal digits"),
            ({"amount_tolerance": 1.0}, "amount_tolerance: must be Decimal, not float"),
            ({"amount_tolerance": Decimal("NaN")}, "amount_tolerance: must be a percentage from 0 to 100"),
            ({"amount_tolerance": Decimal("100.1")}, "amount_tolerance: must be a percentage from 0 to 100"),
            ({"description_hash": "ab" * 32 + "\n"}, "description_hash: must be 64 lower-case hexadecimal digits"),
        ],
    )
    def test_refused(self, terms: dict[str, Any], message: str) -> None:
        """Malformed terms are refused, naming the field, before anything is sent."""
        with pytest.raises(InvalidRequest) as caught:
            CreateInvoiceParams(**terms)

        assert str(caught.value) == message
        assert [caught.value.field] == list(terms)

    @pytest.mark.parametrize(
        ("terms", "committed"),
        [
            ({}, None),
            ({"description": "coffee"}, None),
            ({"description": "coffee", "description_hash_only": True}, COFFEE_HASH),
            ({"description_hash": HASH}, HASH),
            ({"description": "what is shown instead", "description_hash": HASH}, HASH),
            ({"description_hash": HASH, "description_hash_only": True}, HASH),
            ({"description": "coffee", "description_hash": COFFEE_HASH, "description_hash_only": True}, COFFEE_HASH),
        ],
    )
    def test_committed_hash(self, terms: dict[str, Any], committed: str | None) -> None:
        """A hash that is given is committed to as it is; else the description's own, where that is asked for."""
        assert CreateInvoiceParams(**terms).committed_hash == committed

    @pytest.mark.parametrize("description", ["tea", "\ud800"])
    def test_hash_of_another_text(self, description: str) -> None:
        """A text that has to be hashed and a hash of another text contradict each other; half a character is a text."""
        with pytest.raises(InvalidRequest, match="is not that of the description; leave one of them out") as caught:
            CreateInvoiceParams(description=description, description_hash_only=True, description_hash=COFFEE_HASH)

        assert caught.value.field == "description_hash"


class TestPayInvoiceParams:
    """How to pay."""

    @pytest.mark.parametrize(
        "terms",
        [
            {},
            {"amount": LightMoney(1)},
            {"max_fee_percent": 1.0},
            {"max_fee_percent": Decimal("0.5")},
            {"max_fee_percent": 0, "max_fee_flat": LightMoney.ZERO},
            {"send_timeout": timedelta(milliseconds=1)},
        ],
    )
    def test_accepted(self, terms: dict[str, Any]) -> None:
        """Every limit can be given, as whole number, float or Decimal where it is a percentage."""
        params = PayInvoiceParams(**terms)

        assert {name: getattr(params, name) for name in terms} == terms

    @pytest.mark.parametrize(
        ("terms", "message"),
        [
            (
                {"amount": LightMoney.ZERO},
                "amount: must be more than zero; leave it out to pay the BOLT11's own amount",
            ),
            ({"amount": LightMoney(-1)}, "amount: must be more than zero; leave it out to pay the BOLT11's own amount"),
            ({"amount": Decimal(1)}, "amount: must be LightMoney, not Decimal"),
            ({"max_fee_percent": -0.1}, "max_fee_percent: must be a number, and not negative or above 1000000"),
            ({"max_fee_percent": float("nan")}, "max_fee_percent: must be a number, and not negative or above 1000000"),
            (
                {"max_fee_percent": Decimal("NaN")},
                "max_fee_percent: must be a number, and not negative or above 1000000",
            ),
            ({"max_fee_percent": "1"}, "max_fee_percent: must be Decimal or float or int, not str"),
            ({"max_fee_percent": True}, "max_fee_percent: must be Decimal or float or int, not bool"),
            ({"max_fee_flat": LightMoney(-1)}, "max_fee_flat: must not be negative"),
            ({"max_fee_flat": 10}, "max_fee_flat: must be LightMoney, not int"),
            ({"send_timeout": timedelta(0)}, "send_timeout: must be longer than zero"),
            ({"send_timeout": 30}, "send_timeout: must be timedelta, not int"),
        ],
    )
    def test_refused(self, terms: dict[str, Any], message: str) -> None:
        """Malformed limits are refused, naming the field: a limit that is no number would be none."""
        with pytest.raises(InvalidRequest) as caught:
            PayInvoiceParams(**terms)

        assert str(caught.value) == message
        assert [caught.value.field] == list(terms)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"amount": LightMoney.ZERO}, "amount: must be more than zero"),
        ({"amount": None}, "amount: must be LightMoney, not NoneType"),
        ({"max_fee_percent": -1}, "max_fee_percent: must be a number, and not negative or above 1000000"),
        ({"send_timeout": timedelta(0)}, "send_timeout: must be longer than zero"),
        ({"custom_records": {1: b""}}, "custom_records: must have types from 65536 on (BOLT 1)"),
        ({"custom_records": {65_536: "text"}}, "custom_records: must be bytes, not str"),
    ],
)
def test_keysend_refused(terms: dict[str, Any], message: str) -> None:
    """Malformed terms of a payment without an invoice are refused, naming the field."""
    with pytest.raises(InvalidRequest) as caught:
        KeysendParams(**{"amount": LightMoney(1), **terms})

    assert str(caught.value) == message


@pytest.mark.parametrize("params", [ListInvoicesParams, ListPaymentsParams])
@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (-1, "offset_index: must be zero or more"),
        (1.0, "offset_index: must be int, not float"),
        (True, "offset_index: must be int, not bool"),
        (None, "offset_index: must be int, not NoneType"),
    ],
)
def test_offset_refused(params: Any, offset: Any, message: str) -> None:
    """A list begins at a place that exists."""
    with pytest.raises(InvalidRequest) as caught:
        params(offset_index=offset)

    assert str(caught.value) == message
    with pytest.raises(InvalidRequest, match="after: must be str"):
        params(after=1)


def test_protocols_name_the_whole_contract() -> None:
    """The methods of client and listener are those of the design, no more and no less."""
    client = {name for name in dir(LightningClient) if not name.startswith("_")}
    listener = {name for name in dir(LightningInvoiceListener) if not name.startswith("_")}

    assert client == {
        *("create_invoice", "create_invoices", "get_invoice", "list_invoices", "cancel_invoice", "listen"),
        *("pay", "get_payment", "list_payments", "get_balance", "get_info", "validate"),
        *("open_channel", "connect_to", "get_deposit_address", "list_channels", "aclose"),
        *("connection_string", "keysend"),
    }
    assert listener == {"cursor", "wait_invoice", "aclose"}


def test_protocols_can_be_asked_at_run_time() -> None:
    """An object without the methods is neither a client nor a listener."""
    assert not isinstance(object(), LightningClient)
    assert not isinstance(object(), LightningInvoiceListener)


async def test_the_contract_can_be_read_and_imitated() -> None:
    """`create_invoice` has words and a signature of its own, so that an IDE shows them and a stand-in can be made."""
    signature = inspect.signature(LightningClient.create_invoice)
    assert list(signature.parameters) == ["self", "amount", "description", "expiry"]
    assert (LightningClient.create_invoice.__doc__ or "").startswith("Create an invoice.")
    client = create_autospec(LightningClient, instance=True)
    await client.create_invoice(LightMoney.from_sat(1), "coffee")
    client.create_invoice.assert_awaited_once_with(LightMoney.from_sat(1), "coffee")
    with pytest.raises(TypeError):
        await client.create_invoice(memo="no such argument")
