"""Reads and executes GraphQL operations, whichever transport brought them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import lru_cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_operation_ast,
    parse,
)
from strawberry.types.execution import ExecutionResult, PreExecutionError

from flash_driver.sandbox.bank.refusals import Refused
from flash_driver.sandbox.schema.context import Context
from flash_driver.sandbox.schema.input_errors import literal_error, variable_errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from flash_driver.sandbox.bank.bank import Bank
    from flash_driver.sandbox.bank.credentials import Caller, Credentials
    from flash_driver.sandbox.bank.invoices import Invoices
    from flash_driver.sandbox.bank.payments import Payments
    from flash_driver.sandbox.bank.phone_login import PhoneLogin
    from flash_driver.sandbox.bank.traffic import Transport
    from flash_driver.sandbox.faults import Fault, Moment, OpenSocket
    from flash_driver.sandbox.schema.schema import FlashSchema

__all__ = ["Engine", "Operation", "UnidentifiedOperationError", "is_request"]

_MAX_TOKENS: Final = 10_000
_KEPT_DOCUMENTS: Final = 128
"""Clients send the same few over and over."""


def is_request(payload: object) -> TypeGuard[dict[str, Any]]:
    """Whether something has the shape of a GraphQL request."""
    return (
        isinstance(payload, dict)
        and isinstance(payload.get("query"), str)
        and isinstance(payload.get("variables"), (dict, NoneType))
        and isinstance(payload.get("operationName"), (str, NoneType))
    )


class UnidentifiedOperationError(ValueError):
    """A document has no operation, or several and no name to choose by."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation that arrived.

    Attributes:
        roots: Its root fields, by the keys they are answered under.

    """

    query: str
    variables: dict[str, Any] | None
    name: str | None
    definition: OperationDefinitionNode
    roots: Mapping[str, FieldNode]

    @property
    def kind(self) -> OperationType:
        """Whether it is a query, a mutation or a subscription."""
        return self.definition.operation

    @property
    def fields(self) -> list[str]:
        """The names of its root fields."""
        return [node.name.value for node in self.roots.values()]

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> Operation:
        """Read what a client sent.

        Raises:
            GraphQLSyntaxError: It is not GraphQL.
            UnidentifiedOperationError: It doesn't say which operation is meant.

        """
        query, name = payload["query"], payload.get("operationName")
        document = _parse(query)
        definition = get_operation_ast(document, name)
        if definition is None:
            raise UnidentifiedOperationError("Unable to identify operation")
        return cls(
            query=query,
            variables=payload.get("variables"),
            name=name,
            definition=definition,
            roots=_roots(document, definition.selection_set),
        )


@dataclass(slots=True)
class Engine:
    """Executes operations for the transports and keeps count of them.

    Attributes:
        sockets: The open WebSockets.
        closing: Set when the sandbox goes down.

    """

    bank: Bank
    invoices: Invoices
    sends: Payments
    credentials: Credentials
    logins: PhoneLogin
    schema: FlashSchema
    sockets: set[OpenSocket]
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def context(self, transport: Transport, caller: Caller, *, capable: bool) -> Context:
        """Name the circumstances of an operation."""
        return Context(
            self.bank, self.invoices, self.sends, self.logins, transport, caller.account, caller.key, capable
        )

    def take_fault(self, operation: Operation, transport: Transport, when: Moment) -> Fault | None:
        """Find the fault that strikes an operation at this moment."""
        return self.bank.faults.take_for(
            operation.fields,
            mutation=operation.kind is OperationType.MUTATION,
            transport=transport,
            when=when,
        )

    async def execute(self, operation: Operation, context: Context, fault: Fault | None = None) -> ExecutionResult:
        """Carry out a query or mutation to its end, even if the client has gone."""
        work = self.bank.tasks.start(self._execute(operation, context, fault), "operation")
        return await asyncio.shield(work)

    async def subscribe(
        self, operation: Operation, context: Context, fault: Fault | None = None
    ) -> AsyncGenerator[ExecutionResult, None]:
        """Start a subscription."""
        if error := await self._delay_or_fail(operation, fault):
            yield PreExecutionError(data=None, errors=[error])
            return
        stream = await self.schema.subscribe(
            operation.query,
            variable_values=operation.variables,
            context_value=context,
            operation_name=operation.name,
        )
        started = False
        try:
            async for result in stream:
                if not started and not result.errors:
                    started = True
                    self.bank.traffic.carried_out(operation.fields, context.transport)
                yield self._worded(operation, result)
        finally:
            await stream.aclose()

    async def _execute(self, operation: Operation, context: Context, fault: Fault | None) -> ExecutionResult:
        if error := await self._delay_or_fail(operation, fault):
            if fault is None or fault.details["channel"] == "top" or operation.kind is not OperationType.MUTATION:
                return ExecutionResult(data=None, errors=[error])
            context.refusal = Refused(fault.details["message"], fault.details["code"])
        result = await self.schema.execute(
            operation.query,
            variable_values=operation.variables,
            context_value=context,
            operation_name=operation.name,
        )
        ran = not isinstance(result, PreExecutionError) and (
            result.data is not None or any(error.path for error in result.errors or ())
        )
        if ran and context.refusal is None:
            failed = {error.path[0] for error in result.errors or () if error.path}
            done = [node.name.value for key, node in operation.roots.items() if key not in failed]
            self.bank.traffic.carried_out(done, context.transport)
        return self._worded(operation, result)

    async def _delay_or_fail(self, operation: Operation, fault: Fault | None) -> GraphQLError | None:
        """Let a fault strike inside the server: wait, or make the error that ends the operation."""
        if fault is None or not fault.inside:
            return None
        if fault.kind == "delay":
            await fault.wait()
            return None
        code = fault.details["code"]
        ((key, node),) = [*operation.roots.items()][:1]
        return GraphQLError(fault.details["message"], node, path=[key], extensions={"code": code} if code else {})

    def _worded(self, operation: Operation, result: ExecutionResult) -> ExecutionResult:
        """Say what is wrong with an operation's input as Flash's server does."""
        errors, schema = result.errors or [], self.schema._schema  # noqa: SLF001 - strawberry's only way to it
        if isinstance(result, PreExecutionError):
            result.errors = [literal_error(schema, error) for error in errors]
        elif errors and result.data is None and not any(error.path for error in errors):
            result.errors = variable_errors(schema, operation.definition, operation.variables or {}) or errors
        return result


@lru_cache(maxsize=_KEPT_DOCUMENTS)
def _parse(query: str) -> DocumentNode:
    return parse(query, max_tokens=_MAX_TOKENS)


def _roots(document: DocumentNode, selections: SelectionSetNode) -> dict[str, FieldNode]:
    """Collect root fields, also those in fragments."""
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    roots: dict[str, FieldNode] = {}
    pending, seen = [selections], set[str]()
    while pending:
        for node in pending.pop().selections:
            if isinstance(node, FieldNode):
                roots[(node.alias or node.name).value] = node
            elif isinstance(node, InlineFragmentNode):
                pending.append(node.selection_set)
            elif isinstance(node, FragmentSpreadNode) and (name := node.name.value) not in seen and name in fragments:
                seen.add(name)
                pending.append(fragments[name].selection_set)
    return roots
