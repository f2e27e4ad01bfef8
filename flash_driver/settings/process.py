"""What is set for the whole process, by variables `FLASH_...` of the environment."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from connection_strings.errors import ConnectionStringError
from flash_driver.journal.budget_rules import InvoiceBudget
from flash_driver.journal.urls import JournalUrl

__all__ = ["ProcessSettings", "words_of"]


class ProcessSettings(BaseSettings):
    """What is set for the whole process, by variables `FLASH_...` of the environment.

    Attributes:
        journal_url: Where invoices and payments are remembered: a file in the user's data folder unless set;
            `memory:` forgets them when the process ends.
        journal_keep_days: After how many days invoices that were never paid are deleted from the journal; None keeps
            them. What was settled and every payment stay.
        invoice_budget: The server's limit on new invoices, met before it is hit; None for no limit.
        expiry_grace_seconds: How long after a BOLT11's expiry a payment may still be reported.
        late_payment_seconds: For how long after its expiry an invoice that is called expired is still asked about, at
            growing intervals; a late payment is told as PAID. A day unless set, 0 for not at all.
        linger_seconds: How long connections of an account stay open, with nothing listening on them, after its last
            client was closed: a host that makes a client for each call goes on with them. 0 closes them at once.
        network: The network of every BOLT11 (bitcoin, testnet, signet, regtest); None asks the server.
        settle_on: Whose word settles an invoice: that of the `query`, which an event only prompts, or that of the
            `event` itself, which is one round trip faster and checked by the query afterwards.

    """

    model_config = SettingsConfigDict(
        env_prefix="FLASH_",
        env_ignore_empty=True,  # what compose makes of `${FLASH_NETWORK:-}`
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )

    journal_url: Annotated[JournalUrl, NoDecode, BeforeValidator(JournalUrl.parse)] = Field(
        default="", validate_default=True
    )
    journal_keep_days: int | None = Field(default=None, ge=3, le=36_500)
    invoice_budget: Annotated[InvoiceBudget | None, BeforeValidator(InvoiceBudget.parse)] = InvoiceBudget(20, 120)
    expiry_grace_seconds: int = Field(default=10, ge=0, le=3600)
    late_payment_seconds: int = Field(default=86_400, ge=0, le=30 * 86_400)
    linger_seconds: float = Field(default=10.0, ge=0, le=3600)
    network: Literal["bitcoin", "testnet", "signet", "regtest"] | None = None
    settle_on: Literal["query", "event"] = "query"

    @classmethod
    def from_environment(cls) -> Self:
        """Read and check the environment.

        Raises:
            ConnectionStringError: Naming the variable at fault and what to do, never its value.

        """
        try:
            return cls()
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = f"FLASH_{'_'.join(str(part) for part in first['loc'][:1])}".upper()
            raise ConnectionStringError(f"the environment variable {name} {words_of(first['msg'])}") from None


def words_of(message: str) -> str:
    """Turn a sentence of pydantic into one of ours, without the value."""
    words = message.removeprefix("Value error, ").replace("Input should be", "must be", 1)
    return words if words.startswith(("is ", "must ", "has ")) else f"is not right: {words}"
