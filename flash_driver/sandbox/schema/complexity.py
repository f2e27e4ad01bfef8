"""Flash's limit on what one document may ask for: two Lightning mutations are too much (flash-server.md 1.4)."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValidationRule,
)

__all__ = ["MAX_COMPLEXITY", "ComplexityRule", "complexity_rule"]

MAX_COMPLEXITY: Final = 200
_EXPENSIVE: Final = 120


class ComplexityRule(ValidationRule):
    """Refuses a document whose fields cost more than Flash allows.

    Attributes:
        limit: How much that is.

    """

    limit: ClassVar[int] = MAX_COMPLEXITY

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> None:
        """Add up an operation's cost."""
        expensive = node.operation is OperationType.MUTATION
        cost = self._cost(node.selection_set, root=True, mutation=expensive)
        if cost > self.limit:
            words = f"Query complexity of {cost} exceeds maximum allowed complexity of {self.limit}"
            self.report_error(GraphQLError(words, extensions={"code": "INTERNAL_SERVER_ERROR"}))

    def _cost(
        self,
        selections: SelectionSetNode | None,
        *,
        root: bool,
        mutation: bool,
        within: tuple[str, ...] = (),
    ) -> int:
        """Add up a selection: 1 for a field, 120 for an expensive one, and what they contain."""
        cost = 0
        for node in selections.selections if selections else ():
            if isinstance(node, FieldNode):
                name = node.name.value
                expensive = root and (mutation or name == "transactionDetails")
                cost += _EXPENSIVE if expensive else 1
                cost += self._cost(node.selection_set, root=False, mutation=mutation, within=within)
            elif isinstance(node, InlineFragmentNode):
                cost += self._cost(node.selection_set, root=root, mutation=mutation, within=within)
            elif isinstance(node, FragmentSpreadNode) and (name := node.name.value) not in within:
                fragment = self.context.get_fragment(name)
                inner = fragment.selection_set if fragment else None
                cost += self._cost(inner, root=root, mutation=mutation, within=(*within, name))
        return cost


def complexity_rule(limit: int) -> type[ComplexityRule]:
    """Return the rule with another limit."""
    return type("ComplexityRule", (ComplexityRule,), {"limit": limit})
