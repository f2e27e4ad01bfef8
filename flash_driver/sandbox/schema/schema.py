"""The part of Flash's GraphQL schema that a Lightning driver can meet, put together."""

from functools import cache

import strawberry
from graphql import GraphQLError
from strawberry.extensions import AddValidationRules, ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from flash_driver.sandbox.schema.accounts import BTCWallet, ConsumerAccount, UsdtWallet, UsdWallet
from flash_driver.sandbox.schema.api_keys import ApiKeyMutations
from flash_driver.sandbox.schema.complexity import MAX_COMPLEXITY, complexity_rule
from flash_driver.sandbox.schema.invoice_mutations import ReceivingMutations
from flash_driver.sandbox.schema.login_mutations import LoginMutations
from flash_driver.sandbox.schema.payment_mutations import PayingMutations
from flash_driver.sandbox.schema.queries import Query
from flash_driver.sandbox.schema.scalars import SCALARS
from flash_driver.sandbox.schema.subscriptions import Subscription
from flash_driver.sandbox.schema.types import GraphQLApplicationError

__all__ = ["FlashSchema", "Mutation", "flash_schema"]


@strawberry.type
class Mutation(ReceivingMutations, PayingMutations, LoginMutations, ApiKeyMutations):
    """What can be done."""


class FlashSchema(strawberry.Schema):
    """A schema that keeps errors between itself and the client who caused them."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Log nothing: a refusal is an answer, not trouble."""


def flash_schema(max_complexity: int = MAX_COMPLEXITY) -> FlashSchema:
    """Return the schema, built when it is first needed; it is constant, so all sandboxes share it."""
    return _schema(max_complexity)


@cache
def _schema(max_complexity: int) -> FlashSchema:
    """Build the schema.

    Clients send the same few documents over and over. Validating one took as long as all else that an invoice needs,
    so the last 128 and what is wrong with them are kept; no rule looks at variables or at who asks.
    """
    rule = complexity_rule(max_complexity)
    return FlashSchema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[BTCWallet, UsdWallet, UsdtWallet, ConsumerAccount, GraphQLApplicationError],
        extensions=[lambda: AddValidationRules([rule]), ParserCache, ValidationCache],
        config=StrawberryConfig(scalar_map=SCALARS),
    )
