"""Answers to every document of the driver, made from the documents themselves: what a server may put anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from graphql import FieldNode, InlineFragmentNode, OperationDefinitionNode

from flash_driver.flash_api import documents, session_documents
from flash_driver.flash_api.documents import Document

if TYPE_CHECKING:
    from graphql import SelectionSetNode

__all__ = ["DOCUMENTS", "WRONG", "answer_to"]

DOCUMENTS: Final = {
    value.name: value
    for module in (documents, session_documents)
    for value in vars(module).values()
    if isinstance(value, Document)
}
"""Every document that there is, by its operation name."""

WRONG: Final = (
    "null", "true", "false", "0", "-1", "1.5", "1e30", "-1e-30", "1e99999999999999999999", "9" * 400, "9" * 5000,
    '""', '"x"', '"\\u0000"', '"\\ud83c"', '"' + "a" * 5000 + '"', '"' + "0" * 64 + '"', '"PAID"', '"SUCCESS"',
    '"lnbc1"', "[]", "[[]]", '[null,1,"x",{}]', "{}", '{"a":1}', "[" * 500 + "]" * 500, "NaN", "tru",
)  # fmt: skip
"""What may stand in the place of any value, as JSON text; some of it is no JSON."""

_LISTS: Final = {"errors", "wallets", "edges", "apiKeys", "scopes"}


def answer_to(document: Document, leaf: Any, typename: str = "LnUpdate") -> dict[str, Any]:
    """Return an answer that has every field the document asks for, each with this value; `__typename` as named."""
    (operation,) = document.node.definitions
    assert isinstance(operation, OperationDefinitionNode)
    return _fill(operation.selection_set, leaf, typename)


def _fill(selections: SelectionSetNode, leaf: Any, typename: str) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    for each in selections.selections:
        if isinstance(each, InlineFragmentNode):
            filled |= _fill(each.selection_set, leaf, typename)
        elif isinstance(each, FieldNode):
            name = each.name.value
            value = leaf if each.selection_set is None else _fill(each.selection_set, leaf, typename)
            filled[name] = typename if name == "__typename" else [value] if name in _LISTS else value
    return filled
