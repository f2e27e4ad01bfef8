from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import graphql
import pytest
from graphql import OperationType

from flash_driver.flash_api import documents as operations
from flash_driver.flash_api.classify import classify
from flash_driver.flash_api.documents import FEE_PROBE, INVOICE_CREATE_USD, INVOICE_STATUS, PAY, PROBE, Document
from flash_driver.flash_api.outcomes import Answer, Completed, Kind, TimedOut, Unknown
from flash_driver.sandbox.schema.schema import flash_schema

if TYPE_CHECKING:
    from graphql import OperationDefinitionNode

DOCUMENTS = [value for value in vars(operations).values() if isinstance(value, Document)]
IDS = [document.name for document in DOCUMENTS]


def definition(document: Document) -> OperationDefinitionNode:
    """Return the one operation of a document."""
    (found,) = document.node.definitions
    assert isinstance(found, graphql.OperationDefinitionNode)
    return found


@pytest.mark.many_cases
@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_document_is_valid_for_flash(document: Document) -> None:
    """Each document uses operations, fields and arguments that the schema has (flash-server.md 3)."""
    schema = graphql.build_schema(flash_schema().as_str())
    assert graphql.validate(schema, document.node) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_document_is_sent_as_it_was_written(document: Document) -> None:
    """What is sent parses to the same document, with one operation of that name."""
    reparsed = graphql.parse(document.text)
    assert graphql.print_ast(reparsed) == graphql.print_ast(document.node)
    assert definition(document).name is not None
    assert document.text.count(f" {document.name}") >= 1
    assert [getattr(part.name, "value", None) for part in reparsed.definitions] == [document.name]  # type: ignore[attr-defined]  # operations have names


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_field_is_a_root_field(document: Document) -> None:
    """The field whose payload carries the answer is asked for at the root."""
    roots = [getattr(node, "name").value for node in definition(document).selection_set.selections]  # noqa: B009 - only fields have names, mypy can't know
    assert document.field is None or document.field in roots


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_one_dear_field_per_document(document: Document) -> None:
    """Fields that cost 120 of the complexity limit of 200 stand alone (flash-server.md 1.4)."""
    roots = [getattr(node, "name").value for node in definition(document).selection_set.selections]  # noqa: B009 - as above
    assert sum(name.startswith("ln") or name == "transactionDetails" for name in roots) <= 1


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_stakes_are_what_the_operation_risks(document: Document) -> None:
    """Whatever moves money is SEND, whatever leaves an invoice behind is CREATE, and nothing else."""
    expected = Kind.ASK
    if definition(document).operation is OperationType.MUTATION and "Probe" not in document.name:
        expected = Kind.SEND if "PaymentSend" in str(document.field) else Kind.CREATE
    assert document.kind is expected


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_errors_are_asked_for_with_their_code(document: Document) -> None:
    """A mutation's payload errors come with the code that classification needs."""
    if definition(document).operation is OperationType.MUTATION:
        assert "errors { message code }" in document.text


def test_names_are_told_apart() -> None:
    """Each operation name in logs stands for one document, and each document is exported."""
    assert len(set(IDS)) == len(IDS)
    exported = [name for name in operations.__all__ if isinstance(getattr(operations, name), Document)]
    assert len(exported) == len(DOCUMENTS)


def test_syntax_error_shows_when_the_document_is_parsed() -> None:
    """What is no GraphQL does not get past the parser that the suite reads every document with."""
    with pytest.raises(graphql.GraphQLSyntaxError):
        _ = Document("Bad", Kind.ASK, "query Bad {").node


def test_payload() -> None:
    """A request says what is asked, by which name, and with which values."""
    operation = INVOICE_CREATE_USD(input={"amount": Decimal("1.5")})
    assert operation.payload == {
        "query": INVOICE_CREATE_USD.text,
        "operationName": "InvoiceCreate",
        "variables": {"input": {"amount": Decimal("1.5")}},
    }


def test_only_payments_are_not_repeatable() -> None:
    """A payment may be sent again only when told so, which means with an idempotency key; all else may."""
    assert not PAY(input={}).repeatable
    assert PAY(input={"idempotencyKey": "k"}, repeatable=True).repeatable
    assert INVOICE_CREATE_USD(input={}).repeatable
    assert INVOICE_STATUS(input={}).repeatable
    assert FEE_PROBE(input={}).repeatable


def test_classifies_by_its_own_stakes_and_field() -> None:
    """An operation judges evidence by what it asked for."""
    paid = Answer({"lnInvoicePaymentSend": {"status": "SUCCESS", "errors": []}})
    assert classify(PAY, paid) == Completed(paid.data or {})
    assert isinstance(classify(PAY, Answer({"another": {"status": "SUCCESS"}})), Unknown)
    assert isinstance(classify(PROBE, TimedOut()), Unknown)
