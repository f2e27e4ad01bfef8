"""Creates invoices with LNbits' BlinkWallet; run by the Python of LNbits' own environment, see `create.py`.

Told by the environment where the server is (`BLINK_API_ENDPOINT`, ...); arguments: invoices, how many at once, and
`decode` to decode each BOLT11 as LNbits does next. Uses the standard library and LNbits alone, and the same load as
everybody: `load.py` is found beside this file.
"""

import asyncio
import importlib
import json
import sys
from dataclasses import asdict
from typing import Any, Final

_SATS: Final = 1000
_BEFORE: Final = 5
_NO_LIMIT: Final = 10**9


async def main(invoices: int, at_once: int, *, decode: bool) -> None:
    """Create that many, that many at once, and print what that came to."""
    load: Any = importlib.import_module("load").load
    blink: Any = importlib.import_module("lnbits.wallets.blink")
    bolt11: Any = importlib.import_module("lnbits.bolt11")
    wallet = blink.BlinkWallet()
    # It keeps itself to 120 requests a minute, which would measure a pause.
    wallet._graphql_limiter = blink.TokenBucket(_NO_LIMIT, 1)
    status = await wallet.status()
    if status.error_message:
        raise SystemExit(status.error_message)

    async def create() -> None:
        response = await wallet.create_invoice(_SATS, "coffee", expiry=900)
        if not response.ok or not response.payment_request or not response.checking_id:
            raise SystemExit(response.error_message)
        if decode:
            bolt11.decode(response.payment_request)

    await load(create, 1, requests=_BEFORE)
    sample = await load(create, at_once, requests=invoices)
    await wallet.cleanup()
    print(json.dumps(asdict(sample)), flush=True)  # noqa: T201 - a line of the conversation


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), decode=sys.argv[3:] == ["decode"]))
