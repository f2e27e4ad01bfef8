"""Serves LNbits with its BlinkWallet; run by the Python of LNbits' own environment, see `beside_lnbits.py`.

The argument is the port. Told by the environment where the wallet's server is and where LNbits keeps its data; runs
where LNbits finds its static files. Uses LNbits and what it brings alone.
"""

import importlib
import sys
from typing import Any, Final

_NO_LIMIT: Final = 10**9


def main(port: int) -> None:
    """Serve until SIGTERM, by the command that LNbits has itself, but for its pauses."""
    blink: Any = importlib.import_module("lnbits.wallets.blink")
    bucket = blink.TokenBucket
    # It keeps itself to 120 requests a minute, which would measure a pause.
    blink.TokenBucket = lambda *_: bucket(_NO_LIMIT, 1)
    uvicorn: Any = importlib.import_module("uvicorn")
    uvicorn.run("lnbits.__main__:app", host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main(int(sys.argv[1]))
