"""Makes a BTCPay Server ready to sell, sells, and pays what was sold: for docker/btcpay.yaml.

    btcpay_setup.py [pay]

Without `pay` it makes an administrator, a store and the store's connection, unless they are there, then an invoice, and
says what to click. It needs nothing but Python.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any

BTCPAY, SHOWN = os.environ["BTCPAY_URL"], os.environ["BTCPAY_SHOWN_AS"]
HOST, PHOENIXD_PASSWORD = os.environ["HOST_URL"], os.environ["PHOENIXD_PASSWORD"]
CONTROL = os.environ["SANDBOX_CONTROL"]
LOGIN, PASSWORD = "admin@example.com", "Passw0rd!demo"
BASIC = "Basic " + base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
NAME = "Demo shop"
READY_SECONDS = 180
SETTLED_SECONDS = 60


def ask(url: str, method: str, body: Any = None, authorization: str = BASIC) -> Any:
    """Call an API with JSON; gives the JSON that it answers."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": authorization} if authorization else {})
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - as the compose file has it
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
        text = answer.read()
    return json.loads(text) if text else None


def call(method: str, path: str, body: Any = None, authorization: str = BASIC) -> Any:
    """Call BTCPay's API."""
    return ask(f"{BTCPAY}/api/v1{path}", method, body, authorization)


def wait_for_btcpay() -> None:
    """Wait until BTCPay serves."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            call("GET", "/health")
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def open_store() -> str:
    """Return the store's id; administrator and store are made the first time."""
    try:
        listed = call("GET", "/stores")
    except urllib.error.HTTPError:
        call("POST", "/users", {"email": LOGIN, "password": PASSWORD, "isAdministrator": True}, authorization="")
        listed = []
    for store in listed:
        if store["name"] == NAME:
            return str(store["id"])
    shop = {"name": NAME, "defaultCurrency": "USD", "invoiceExpiration": 60, "lazyPaymentMethods": True}
    store = str(call("POST", "/stores", shop)["id"])
    connection = {"connectionString": f"type=phoenixd;server={HOST}/;password={PHOENIXD_PASSWORD}"}
    call("PUT", f"/stores/{store}/payment-methods/BTC-LN", {"enabled": True, "config": connection})
    # No exchange can be asked: the price is the sandbox's.
    rate = {"isCustomScript": True, "effectiveScript": "BTC_USD = 97531.86;", "spread": "0"}
    call("PUT", f"/stores/{store}/rates/configuration", rate)
    return store


def sell(store: str) -> None:
    """Make an invoice, and say what to click."""
    sold = call("POST", f"/stores/{store}/invoices", {"amount": "2.50", "currency": "USD"})
    lines = (
        f"BTCPay    {SHOWN}",
        f"login     {LOGIN} / {PASSWORD}",
        f"checkout  {SHOWN}/i/{sold['id']}",
        "",
        "1. Open the checkout within a minute: the code appears.",
        "2. Pay it as a customer would:  docker/btcpay-demo pay",
        "3. The page says that it is paid. Log in and look at the invoice, under Invoices.",
        "Another sale: make btcpay-demo.   The end: docker/btcpay-demo down",
    )
    sys.stdout.write("\n".join(lines) + "\n")


def pay(store: str) -> None:
    """Pay the invoice that was sold last, from the sandbox's outside, and wait until BTCPay has settled it."""
    listed = call("GET", f"/stores/{store}/invoices?take=1")
    if not listed or listed[0]["status"] != "New":
        sys.exit("there is nothing to pay: docker/btcpay-demo sells, and what it has sold can be paid for a minute")
    (sold,) = listed
    urllib.request.urlopen(f"{BTCPAY}/i/{sold['id']}", timeout=30).close()  # noqa: S310 - who opens it gets a code
    (prompt,) = call("GET", f"/stores/{store}/invoices/{sold['id']}/payment-methods")
    ask(f"{CONTROL}/pay", "POST", {"payment_request": prompt["destination"]}, authorization="")
    deadline = time.monotonic() + SETTLED_SECONDS
    while (status := call("GET", f"/stores/{store}/invoices/{sold['id']}")["status"]) != "Settled":
        if time.monotonic() > deadline:
            sys.exit(f"the invoice is {status} after {SETTLED_SECONDS} s")
        time.sleep(0.2)
    sys.stdout.write(f"paid: invoice {sold['id']} is settled\n")


if __name__ == "__main__":
    try:
        wait_for_btcpay()
        (pay if sys.argv[1:] == ["pay"] else sell)(open_store())
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.url.partition('?')[0]} answered {error.code}: {error.read().decode(errors='replace')[:300]}")
