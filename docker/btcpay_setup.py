"""Makes a BTCPay Server ready to sell: an administrator, a store, and the store's connection to a phoenixd-like server.

    python btcpay_setup.py BTCPAY_URL HOST_URL PHOENIXD_PASSWORD

Prints what to do next. It needs nothing but Python, and a BTCPay Server that nobody has registered at.
"""

from __future__ import annotations

import base64
import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

LOGIN, PASSWORD = "admin@example.com", "Passw0rd!demo"
READY_SECONDS = 180
BASIC = "Basic " + base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()


def call(url: str, method: str, path: str, body: Any = None, authorization: str = BASIC) -> Any:
    """Call BTCPay's API; gives the JSON that it answers."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": authorization}
    request = urllib.request.Request(f"{url}/api/v1{path}", data, headers, method=method)  # noqa: S310 - as given
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
        text = answer.read()
    return json.loads(text) if text else None


def wait_for(url: str) -> None:
    """Wait until BTCPay serves."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            call(url, "GET", "/health")
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return


def set_up(url: str, host: str, password: str) -> str:
    """Make administrator and store; gives the store's id."""
    wait_for(url)
    body = {"email": LOGIN, "password": PASSWORD, "isAdministrator": True}
    call(url, "POST", "/users", body, authorization="")
    key = call(url, "POST", "/api-keys", {"label": "demo", "permissions": ["unrestricted"]})["apiKey"]
    token = f"token {key}"
    shop = {
        "name": "Demo shop",
        "defaultCurrency": "USD",
        "invoiceExpiration": 60,
        "lazyPaymentMethods": True,
    }
    store = str(call(url, "POST", "/stores", shop, token)["id"])
    connection = {"connectionString": f"type=phoenixd;server={host}/;password={password}"}
    call(url, "PUT", f"/stores/{store}/payment-methods/BTC-LN", {"enabled": True, "config": connection}, token)
    rate = {"isCustomScript": True, "effectiveScript": "BTC_USD = 97531.86;", "spread": "0"}
    call(url, "PUT", f"/stores/{store}/rates/configuration", rate, token)
    sold = call(url, "POST", f"/stores/{store}/invoices", {"amount": "2.50", "currency": "USD"}, token)
    lines = (
        f"login      {LOGIN} / {PASSWORD}",
        f"store      {store}",
        f"checkout   {sold['checkoutLink'].replace(url, 'http://127.0.0.1:14142')}",
        "Log in, open the checkout, choose Lightning, and pay the code that it shows within a minute:",
        """  curl -d '{"payment_request": "LNBCRT..."}' http://127.0.0.1:4010/control/pay""",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    return store


if __name__ == "__main__":
    try:
        set_up(*(each.rstrip("/") for each in sys.argv[1:4]))
    except urllib.error.HTTPError as error:
        sys.exit(f"BTCPay answered {error.code}: {error.read().decode(errors='replace')[:300]}")
