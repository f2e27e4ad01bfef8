"""What can be set, and where it comes from.

About the account: the keys of the connection string, and nothing else, so that no shop ever uses another's token by
accident. About the process: `FLASH_...` variables of the environment.
"""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from connection_strings.errors import ConnectionStringError
from connection_strings.grammar import ConnectionString
from connection_strings.keys import canonical_values
from connection_strings.secret import Secret
from flash_driver.common.masking import hide
from flash_driver.flash_api.replies import Currency
from flash_driver.settings.endpoints import DEFAULT_SERVER, check_url, derive_websocket_url
from flash_driver.settings.process import words_of
from flash_driver.settings.values import DescriptionHashPolicy, TokenKind

__all__ = ["ALIASES", "KEYS", "FlashSettings"]

_TYPE: Final = "flash"
_BEARER: Final = "bearer "
ALIASES: Final = {"api": "server", "api-token": "token"}
"""Other names of keys, as Flash's own plugin documents them."""


TransportName: TypeAlias = Literal["websocket", "http", "graphql", "public"]
TRANSPORT_NAMES: Final[tuple[TransportName, ...]] = get_args(TransportName)


_TOKEN: Final = re.compile(r"(?!(?:ory_st_|fk_)$)[A-Za-z0-9._~+/-]+=*")
"""What a bearer token consists of (RFC 6750 2.1), with something behind a prefix that we know."""


_LARGEST_POOL: Final = 16


_WALLET_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def _boolean(value: object) -> object:
    words = {"true": True, "false": False}
    if isinstance(value, str):
        if value.lower() not in words:
            raise ValueError("must be true or false")
        return words[value.lower()]
    return value


def _currency(value: object) -> object:
    if isinstance(value, str) and value.upper() not in Currency.__members__:
        raise ValueError(f"must be one of {', '.join(Currency)}")
    return Currency(value.upper()) if isinstance(value, str) else value


def _transports(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = tuple(name.strip().lower() for name in value.split(","))
    if not set(names) <= set(TRANSPORT_NAMES):
        raise ValueError(f"must be a list of {', '.join(TRANSPORT_NAMES)}, separated by commas")
    if len(set(names)) != len(names):
        raise ValueError("must name each transport once")
    return names


def _token(value: object) -> object:
    text = value.reveal() if isinstance(value, Secret) else value
    if not isinstance(text, str) or not text:
        raise ValueError("is empty; copy the token from Flash, it starts with ory_st_ (session) or fk_ (API key)")
    if text[: len(_BEARER)].lower() == _BEARER:
        raise ValueError("begins with the word Bearer, which belongs to an HTTP header; leave it out")
    if _TOKEN.fullmatch(text) is None:
        raise ValueError("is no token: it has a blank, a quotation mark or the like, or is cut; copy it again, whole")
    return hide(Secret(text))


def _wallet_id(value: str) -> str:
    if _WALLET_ID.fullmatch(value) is None:
        raise ValueError("must be a wallet's UUID, such as 00000000-0000-0000-0000-000000000000")
    return value.lower()


def _percent(value: object) -> object:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal(-1)
    if not (number.is_finite() and 0 <= number <= 100):
        raise ValueError("must be a percentage from 0 to 100, such as 1")
    return number


def _pool_size(value: object) -> object:
    if re.fullmatch(r"[1-9]\d?", str(value).strip()) is None or int(str(value)) > _LARGEST_POOL:
        raise ValueError(f"must be a whole number from 1 to {_LARGEST_POOL}")
    return int(str(value))


def _policy(value: object) -> object:
    if isinstance(value, str) and value.lower() not in ("prefer", "require"):
        raise ValueError("must be prefer or require")
    return DescriptionHashPolicy(value.lower()) if isinstance(value, str) else value


class FlashSettings(BaseModel):
    """The keys of a `type=flash` connection string, checked.

    Attributes:
        server: The GraphQL endpoint over HTTP.
        token: The credential.
        websocket: The GraphQL endpoint over WebSocket; derived from `server` unless given.
        wallet_id: The wallet to use; None means the account's default wallet.
        currency: The currency whose wallet to use; None means the default wallet's.
        allowinsecure: Whether http:// and ws:// are accepted.
        transports: The ways to the server, in the order they are tried.
        description_hash: What to do when the server drops a description hash.
        amount_tolerance: How much more than asked an invoice may be over, in percent; never less than asked.
        pool_size: How many WebSockets may be open for the token.

    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True, populate_by_name=True
    )

    allowinsecure: Annotated[bool, BeforeValidator(_boolean)] = False
    server: str = DEFAULT_SERVER
    websocket: str = ""
    token: Annotated[Secret, BeforeValidator(_token)]
    wallet_id: Annotated[str, AfterValidator(_wallet_id)] | None = Field(default=None, alias="wallet-id")
    currency: Annotated[Currency, BeforeValidator(_currency)] | None = None
    transports: Annotated[tuple[TransportName, ...], BeforeValidator(_transports)] = TRANSPORT_NAMES
    description_hash: Annotated[DescriptionHashPolicy, BeforeValidator(_policy)] = Field(
        default=DescriptionHashPolicy.PREFER, alias="description-hash"
    )
    amount_tolerance: Annotated[Decimal, BeforeValidator(_percent)] = Field(
        default=Decimal(1), alias="amount-tolerance"
    )

    pool_size: Annotated[int, BeforeValidator(_pool_size)] = Field(default=1, alias="pool-size")

    @classmethod
    def from_connection_string(cls, connection_string: ConnectionString) -> Self:
        """Read and check the keys of a connection string.

        Raises:
            ConnectionStringError: Naming the key at fault and what to do, never its value.

        """
        values = canonical_values(connection_string, KEYS, ALIASES)
        if "token" not in values:
            raise ConnectionStringError(
                "the key 'token' is missing; add token=... with a Flash session token (ory_st_...) or API key (fk_...)",
                key="token",
            )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _explain(error) from None

    @model_validator(mode="before")
    @classmethod
    def _check_urls(cls, values: Any) -> Any:
        """Check the URLs once it is known whether insecure ones are wanted."""
        allow_insecure = _boolean_or_false(values.get("allowinsecure"))
        checked = dict(values)
        checked["server"] = _named("server", checked.get("server", DEFAULT_SERVER), {"https", "http"}, allow_insecure)
        if "websocket" in checked:
            checked["websocket"] = _named("websocket", checked["websocket"], {"wss", "ws"}, allow_insecure)
        else:
            checked["websocket"] = derive_websocket_url(checked["server"])
        return checked

    @model_validator(mode="after")
    def _check_transports(self) -> Self:
        if self.token_kind is TokenKind.API_KEY and not {"http", "graphql"} & set(self.transports):
            raise _KeyedError("transports", "must name http or graphql: a Flash API key (fk_...) opens no WebSocket")
        return self

    @property
    def token_kind(self) -> TokenKind:
        """What the token is, by its look."""
        text = self.token.reveal()
        if text.startswith("ory_st_"):
            return TokenKind.SESSION
        return TokenKind.API_KEY if text.startswith("fk_") else TokenKind.BEARER

    @property
    def connection_string(self) -> ConnectionString:
        """The connection string that gives these settings: what equals a default is left out, but for the server."""
        values = {"server": self.server}
        if self.websocket != derive_websocket_url(self.server):
            values["websocket"] = self.websocket
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name not in {"server", "token", "websocket"} and value != field.default:
                values[field.alias or name] = _in_words(value)
        return ConnectionString(_TYPE, {**values, "token": self.token.reveal()})

    @property
    def of_any_wallet(self) -> Self:
        """The same without what is said of wallets and invoices: what is left is how to reach the account."""
        fields = type(self).model_fields
        rest = ("wallet_id", "currency", "description_hash", "amount_tolerance")
        return self.model_copy(update={name: fields[name].default for name in rest})

    @property
    def fingerprint(self) -> str:
        """What tells accounts apart without naming them: a hash of server, socket and token."""
        parts = (self.server, self.websocket, self.token.reveal())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _in_words(value: object) -> str:
    """Write a value as it stands in a connection string."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value.value) if isinstance(value, Enum) else str(value)


KEYS: Final = frozenset(field.alias or name for name, field in FlashSettings.model_fields.items())
"""The keys that `type=flash` takes, besides their aliases."""


class _KeyedError(ValueError):
    """A reason with the key that it is about, for checks that see several keys."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key


def _boolean_or_false(value: object) -> bool:
    try:
        return _boolean(value) is True
    except ValueError:
        return False


def _named(key: str, text: object, schemes: set[str], allow_insecure: bool) -> str:  # noqa: FBT001 - private, one caller
    try:
        return check_url(str(text), schemes, allow_insecure=allow_insecure)
    except ValueError as error:
        raise _KeyedError(key, str(error)) from None


def _explain(error: ValidationError) -> ConnectionStringError:
    first = error.errors(include_url=False, include_input=False)[0]
    cause = first.get("ctx", {}).get("error")
    key = cause.key if isinstance(cause, _KeyedError) else str(first["loc"][0])
    return ConnectionStringError(f"the key {key!r} {words_of(first['msg'])}", key=key)
