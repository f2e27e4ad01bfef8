"""What can be set: variables `LIGHTNING_HOST_...` of the environment, or arguments of `HostSettings`.

Each variable has a twin that ends in `_FILE` and names a file to read the value from, so that secrets need not stand in
the environment: `LIGHTNING_HOST_CONNECTION_STRING_FILE=/run/secrets/shop`. Both at once is an error.

One shop needs three: `CONNECTION_STRING`, `API_KEY`, and `PUBLIC_URL` once it is not on loopback. Many shops stand in
`STORES`, as JSON: `{"bakery": {"connection_string": "...", "api_keys": ["..."], "phoenixd_password": "..."}}`.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from yarl import URL

from connection_strings import Secret
from lightning_host.allowance import Allowance, AllowanceOrOff
from lightning_host.client_address import Network, read_address, read_networks

__all__ = ["ENV_PREFIX", "DatabaseSettings", "HostSettings", "SettingsError", "StoreSettings"]

ENV_PREFIX: Final = "LIGHTNING_HOST_"
_STORE_ID: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")
_KEY: Final = re.compile(r"[\x21-\x7e]{16,}")


class SettingsError(ValueError):
    """A setting can't be used; names the variable and never its value."""


def _secret(value: object) -> object:
    return Secret(value) if isinstance(value, str) else value


def _key(value: object) -> object:
    secret = _secret(value)
    if not isinstance(secret, Secret) or _KEY.fullmatch(secret.reveal()) is None:
        raise ValueError("must be 16 visible characters or more, such as `openssl rand -hex 24` makes")
    return secret


def _present(value: object) -> object:
    secret = _secret(value)
    if not isinstance(secret, Secret) or not secret.reveal().strip():
        raise ValueError("is empty")
    return secret


def _networks(value: object) -> object:
    return read_networks(value) if isinstance(value, str) else value


ConnectionStringSecret = Annotated[Secret, BeforeValidator(_present)]
KeySecret = Annotated[Secret, BeforeValidator(_key)]


class StoreSettings(BaseModel):
    """One shop: its wallet and who may use it.

    Attributes:
        connection_string: The wallet, of any type that has a driver installed.
        api_keys: What opens the Greenfield API of this store, paying included; none closes it.
        receive_keys: Keys that make and see invoices and checkouts, and do nothing else.
        read_keys: Keys that see invoices and checkouts, and do nothing else.
        phoenixd_password: What opens the phoenixd-compatible API and tells which store is meant; None closes it.
        phoenixd_limited_password: The same for all but paying.
        addresses: Names of Lightning addresses (LUD-16) besides the store's id.
        title: What payers read.

    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)

    connection_string: ConnectionStringSecret
    api_keys: tuple[KeySecret, ...] = ()
    receive_keys: tuple[KeySecret, ...] = ()
    read_keys: tuple[KeySecret, ...] = ()
    phoenixd_password: KeySecret | None = None
    phoenixd_limited_password: KeySecret | None = None
    addresses: tuple[str, ...] = ()
    title: str = Field(default="", max_length=100)

    @field_validator("addresses")
    @classmethod
    def _check_addresses(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_store_id(name) for name in names)

    @field_validator("title")
    @classmethod
    def _check_title(cls, title: str) -> str:
        return _whole_text(title)


class DatabaseSettings(BaseSettings):
    """What a look at the database alone needs.

    Attributes:
        database_url: Where the host remembers; SQLite (sqlite:///file) or PostgreSQL. Replicas share one.

    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    database_url: Annotated[Secret, BeforeValidator(_present)] = Secret("sqlite:///lightning-host.sqlite3")

    @classmethod
    def from_environment(cls, **given: str | int) -> Self:
        """Read and check the environment, and what is given in its place.

        Raises:
            SettingsError: Naming the variable at fault and what to do, never its value.

        """
        try:
            return cls(**given)  # type: ignore[arg-type]  # each is checked as any other value is
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            if not first["loc"]:  # of several settings: its words begin with the name of one
                raise SettingsError(f"{ENV_PREFIX}{_words(first['msg'])}") from None
            name, *inner = (str(part) for part in first["loc"])
            where = f"{ENV_PREFIX}{name.upper()}{''.join(f'[{part}]' for part in inner)}"
            raise SettingsError(f"{where} {_words(first['msg'])}") from None
        except SettingsError:
            raise
        except ValueError:
            # Not JSON where JSON is due, which is in one place only; what is said of it may quote the value.
            raise SettingsError(f'{ENV_PREFIX}STORES must be JSON: {{"id": {{"connection_string": "..."}}}}') from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments first, then the environment, then the files that it names."""
        del dotenv_settings, file_secret_settings
        return (init_settings, env_settings, _NamedFiles(settings_cls))


class HostSettings(DatabaseSettings):
    """How one process of the host is set up.

    Attributes:
        database_url: Where the host remembers; SQLite (sqlite:///file) or PostgreSQL. Replicas share one.
        connection_string: The wallet of the store `store_id`; or use `stores`.
        store_id: The id of that store; also its Lightning address.
        api_key: What opens that store's Greenfield API, paying included.
        receive_key: A key that makes and sees invoices and checkouts of that store, and does nothing else.
        read_key: A key that sees invoices and checkouts of that store, and does nothing else.
        phoenixd_password: What opens that store's phoenixd-compatible API.
        phoenixd_limited_password: The same for all but paying.
        title: What that store's payers read.
        stores: Further stores by id.
        bind: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        public_url: Where payers reach this host. Every URL that is handed out starts with it, whatever a request says;
            by default it is made of `bind` and `port`.
        sandbox_control: The control URL of a sandbox; shows "pay" buttons. Never set it where money is real.
        lnurl_min_sat: Least amount of an LNURL payment, in satoshi.
        lnurl_max_sat: Most amount of an LNURL payment, in satoshi.
        lnurl_allowance: How many invoices anonymous LNURL callbacks may have made per store, for addresses and for
            flashcards each, so that a flood of them leaves the rest of the server's limit to the shop; None, or
            `off`, for no limit. An exact amount may take the wallet more than one attempt.
        lnurl_client_allowance: How many of them one client may have made, so that it leaves the rest to others; None,
            or `off`, for no limit. Behind a proxy that is not in TRUSTED_PROXIES all clients are one.
        flashcard_key: What seals the keys of flashcards that can be spent; 16 characters or more, such as
            `openssl rand -hex 32` makes. None: cards can be topped up only. Keep it, and apart from the database:
            without it no card that was written can be spent or wiped.
        checkout_seconds: How long a checkout can be paid, unless its maker says otherwise.
        checkout_codes: Which codes a checkout shows. `bolt11`: an invoice, renewed as long as the page is open.
            `lnurl`: a code that lasts; the payer's wallet fetches the invoice, and a page left open costs none. `both`:
            the invoice first, and the lasting code where there is none just now or the payer wants it.
        checkout_return_seconds: How long after the payment the page goes back to the shop by itself, where the shop
            gave a `redirectUrl`; 0 leaves that to the payer.
        frame_ancestors: Which sites may show the checkout inside their own pages: origins such as
            https://shop.example, separated by blanks; none by default.
        checkout_allowance: How many invoices a store may have had made in all before open checkouts wait with
            renewing theirs: they borrow what the shop itself does not use, and leave it the rest of the server's limit;
            None, or `off`, for no limit.
        most_streams: How many pages may be told of payments at once by one process; others ask again and again.
        most_streams_per_address: How many of them may be open at one address (IPv6: one network of 64 bits).
        most_connections: How many connections one process takes at once; more are answered with 503.
        most_connections_per_address: How many of them from one address; more are answered with 429.
        trusted_proxies: Reverse proxies in front of this host, as addresses or networks separated by commas: their
            `X-Forwarded-For` is believed, and their connections are not counted by address. None by default: then the
            proxy itself is the address that pages and connections are counted by.
        payee_private_addresses: Whether Lightning addresses and LNURLs to be paid may lead to loopback and private
            addresses.
        webhook_private_addresses: Whether webhooks may go to loopback and private addresses.
        webhook_first_pause: How many seconds after a failed delivery of a webhook the next attempt follows; each
            further pause is longer.
        webhook_keep_days: How many days a delivery that is over, one way or the other, can be looked at and sent again.
        log_level: From which level on log lines are written; `info` tells each step.
        time_zone: Where the merchant's days and months begin, by its name in the IANA list, such as America/Jamaica.
        log_format: How log lines are written: `text` for people, `json` for machines.
        metrics_token: What opens `/metrics` to others than this machine itself.
        max_body_bytes: Largest body of a request.
        request_seconds: How long a client may take to send its body.
        idle_seconds: How long a connection may stay open without a whole request.

    """

    connection_string: ConnectionStringSecret | None = None
    store_id: str = "shop"
    api_key: KeySecret | None = None
    receive_key: KeySecret | None = None
    read_key: KeySecret | None = None
    phoenixd_password: KeySecret | None = None
    phoenixd_limited_password: KeySecret | None = None
    title: str = Field(default="", max_length=100)
    stores: dict[str, StoreSettings] = Field(default_factory=dict)
    bind: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: str = ""
    sandbox_control: str | None = None
    lnurl_min_sat: int = Field(default=1, ge=1)
    lnurl_max_sat: int = Field(default=100_000_000, ge=1, le=2_100_000_000_000_000)
    lnurl_allowance: AllowanceOrOff = Allowance(times=8, seconds=120)
    lnurl_client_allowance: AllowanceOrOff = Allowance(times=3, seconds=120)
    flashcard_key: KeySecret | None = None
    checkout_seconds: int = Field(default=15 * 60, ge=1, le=24 * 3600)
    checkout_codes: Literal["both", "bolt11", "lnurl"] = "both"
    checkout_return_seconds: int = Field(default=0, ge=0, le=600)
    frame_ancestors: str = ""
    checkout_allowance: AllowanceOrOff = Allowance(times=14, seconds=120)
    most_streams: int = Field(default=2_000, ge=1)
    most_streams_per_address: int = Field(default=100, ge=1)
    most_connections: int = Field(default=4_000, ge=1)
    most_connections_per_address: int = Field(default=250, ge=1)
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = ()
    payee_private_addresses: bool = False
    webhook_private_addresses: bool = False
    webhook_first_pause: float = Field(default=10.0, gt=0, le=3600)
    webhook_keep_days: int = Field(default=30, ge=1, le=3650)
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    time_zone: str = "UTC"
    log_format: Literal["text", "json"] = "text"
    metrics_token: KeySecret | None = None
    max_body_bytes: int = Field(default=64 * 1024, ge=1024)
    request_seconds: float = Field(default=10.0, gt=0)
    idle_seconds: float = Field(default=60.0, gt=0)

    @field_validator("store_id")
    @classmethod
    def _check_store_id(cls, name: str) -> str:
        return _store_id(name)

    @field_validator("stores")
    @classmethod
    def _check_stores(cls, stores: dict[str, StoreSettings]) -> dict[str, StoreSettings]:
        return {_store_id(name): store for name, store in stores.items()}

    @field_validator("time_zone")
    @classmethod
    def _check_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            raise ValueError("must be the name of a time zone, such as UTC or America/Jamaica") from None
        return name

    @field_validator("sandbox_control")
    @classmethod
    def _check_control(cls, text: str | None) -> str | None:
        return str(_plain_url(text)).rstrip("/") if text else text

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, text: str) -> str:
        """Keep scheme, host and port, as browsers write them: lower case, without the port that goes without saying."""
        if not text:
            return text
        url = _plain_url(text)
        if url.path.strip("/"):
            raise ValueError("must have no path: pages, codes and Lightning addresses are at the root of a host")
        return str(url.origin())

    @field_validator("title")
    @classmethod
    def _check_title(cls, title: str) -> str:
        return _whole_text(title)

    @field_validator("frame_ancestors")
    @classmethod
    def _check_ancestors(cls, text: str) -> str:
        for each in text.split():
            if _ORIGIN.fullmatch(each) is None:
                raise ValueError("must be origins such as https://shop.example, separated by blanks")
        return " ".join(text.split())

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if self.connection_string is None and not self.stores:
            raise ValueError("CONNECTION_STRING is missing: the wallet to load, such as type=...;server=...;token=...")
        if self.connection_string is not None and self.store_id in self.stores:
            raise ValueError("STORES must not have the id that STORE_ID has")
        address = read_address(self.bind)
        if address is not None and address.is_unspecified and not self.public_url:
            raise ValueError("PUBLIC_URL is missing: with this BIND no link that is handed out would lead here")
        if self.lnurl_min_sat > self.lnurl_max_sat:
            raise ValueError("LNURL_MIN_SAT must not be more than LNURL_MAX_SAT")
        stores = self.all_stores.values()
        both = [(store.phoenixd_password, store.phoenixd_limited_password) for store in stores]
        passwords = [password for each in both for password in each if password is not None]
        if len(set(passwords)) != len(passwords):
            raise ValueError("PHOENIXD_PASSWORD must differ from store to store and from the limited one")
        for store in stores:
            keys = [*store.api_keys, *store.receive_keys, *store.read_keys]
            if len(set(keys)) != len(keys):
                raise ValueError("API_KEY must differ from the keys that do less")
        names = [name for key, store in self.all_stores.items() for name in {key, *store.addresses}]
        if len(set(names)) != len(names):
            raise ValueError("STORES must not share a Lightning address")
        return self

    @property
    def all_stores(self) -> dict[str, StoreSettings]:
        """Every store by id."""
        if self.connection_string is None:
            return self.stores
        single = StoreSettings(
            connection_string=self.connection_string,
            api_keys=() if self.api_key is None else (self.api_key,),
            receive_keys=() if self.receive_key is None else (self.receive_key,),
            read_keys=() if self.read_key is None else (self.read_key,),
            phoenixd_password=self.phoenixd_password,
            phoenixd_limited_password=self.phoenixd_limited_password,
            title=self.title,
        )
        return {self.store_id: single, **self.stores}

    @property
    def doubts(self) -> list[str]:
        """Sentences on what works less well than an operator may expect, for the log at the start."""
        url = URL(self.base_url)
        address = read_address(url.host or "")
        near = url.host == "localhost" or (address is not None and address.is_loopback)
        if url.scheme == "https" or near or str(url.host).endswith(".onion"):
            return []
        return ["PUBLIC_URL begins with http://: wallets pay Lightning addresses and LNURL over https only (LUD-01)"]

    @property
    def base_url(self) -> str:
        """What every URL that is handed out starts with; no slash at the end."""
        host = f"[{self.bind}]" if ":" in self.bind else self.bind
        return self.public_url or f"http://{host}:{self.port}"


class _NamedFiles(PydanticBaseSettingsSource):
    """Reads `LIGHTNING_HOST_X_FILE` for each field x."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        name = f"{ENV_PREFIX}{field_name.upper()}"
        path = os.environ.get(f"{name}_FILE")
        if path is None:
            return None, field_name, False
        if name in os.environ:
            raise SettingsError(f"{name} and {name}_FILE are both set; keep one")
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise SettingsError(f"{name}_FILE names a file that can't be read: {reason}") from None
        return text, field_name, self.field_is_complex(field)

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, is_complex = self.get_field_value(field, name)
            if value is not None:
                found[key] = self.prepare_field_value(name, field, value, is_complex)
        return found


def _words(message: str) -> str:
    """Say what pydantic found as our own checks do."""
    return message.removeprefix("Value error, ").replace("Input should be", "must be", 1)


def _plain_url(text: str) -> URL:
    url = URL(text)
    if url.scheme not in {"http", "https"} or not url.host or url.user or url.query_string or url.fragment:
        raise ValueError("must be an http:// or https:// URL without user, query or fragment")
    return url


def _whole_text(text: str) -> str:
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise ValueError("must be one line of visible characters")
    return text


def _store_id(name: str) -> str:
    if _STORE_ID.fullmatch(name) is None:
        raise ValueError("must be 1 to 64 of a-z, 0-9, dot, dash and underscore")
    return name
