"""BTCPay's own readers and ours, side by side on many made-up texts.

`python -m tests.btcpay.differential FOLDER [--cases 20000] [--seed 1]` asks BTCPay's Lightning library (the probe of
the BTCPay kit, unpacked in FOLDER) and prints how often the two agree, and how they differ. With `--write` some
examples of each class become `tests/vectors/btcpay.json`, which is replayed without the kit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from connection_strings.bolt11 import bech32
from flash_driver.sandbox.bank.signer import InvoiceSigner, _field, _number
from tests.connection_strings.btcpay_classes import bolt11_class, money_class, string_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VECTORS: Final = Path(__file__).parents[1] / "vectors" / "btcpay.json"
_EXAMPLES: Final = 4
_AT_ONCE: Final = 200


class Oracle:
    """BTCPay's library in a process of its own."""

    def __init__(self, kit: Path) -> None:
        environment = {**os.environ, "DOTNET_ROOT": str(kit / "dotnet")}
        command = [str(kit / "probe" / "Probe")]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, orders: list[dict[str, Any]]) -> list[Any]:
        """Have many orders answered, in their order; None for what was refused."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answers: list[Any] = []
        for start in range(0, len(orders), _AT_ONCE):
            part = orders[start : start + _AT_ONCE]
            self._process.stdin.write("".join(json.dumps({"n": n, **order}) + "\n" for n, order in enumerate(part)))
            self._process.stdin.flush()
            answers += [json.loads(self._process.stdout.readline()).get("ok") for _ in part]
        return answers

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


# --- texts ----------------------------------------------------------------------------------------------------------

_KEYS = ("type", "Type", "TYPE", "server", "Server", "token", "macaroon", "a.b", "a_b", "a b", "", "ключ", "x" * 33)
_VALUES = (
    "flash",
    "clightning",
    "CLightning",
    "https://h",
    "https://h/",
    "http://[::1]:1/p",
    "a=b",
    "",
    "ä",
    "x y",
    "%3B",
)
_BLANK = (" ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u200b", "\x1c", "\x1f", "\x00", "\ufeff")
_WHOLE = (
    *(
        "/path",
        "/a/b",
        "unix:/p",
        "unix://p",
        "unix:///p",
        "UNIX:/p",
        "unix:p",
        "tcp://h:1",
        "tcp://h:1/",
        "tcp://",
        "TCP://h",
    ),
    *(
        "lndhub://a:b@https://h/",
        "lndhub://a:b@http://h:1/p",
        "lndhub://a:b@h",
        "lndhub://a@https://h",
        "LNDHUB://a:b@https://h",
    ),
    *("lndhub://a:b:c@https://h", "lndhub://a:b@c@https://h", "lndhub://a%40:b@https://h", "lndhub://a b:c@https://h"),
    *("", "type", "=", ";", "type=", "type=flash", "=flash", "type=flash;type=flash"),
)


def connection_strings(rng: random.Random) -> Iterator[str]:
    """Make connection strings, most of them nearly right."""
    while True:  # the caller takes as many as it wants
        if rng.random() < 0.2:
            text = rng.choice(_WHOLE)
        else:
            pairs = [(rng.choice(("type", "type", "type", "Type")), rng.choice(_VALUES[:3]))]
            pairs += [(rng.choice(_KEYS), rng.choice(_VALUES)) for _ in range(rng.randrange(4))]
            if rng.random() < 0.3:
                rng.shuffle(pairs)
            text = rng.choice((";", ";", ";", "; ", ";;", ";\n", " ; ")).join(f"{key}={value}" for key, value in pairs)
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
            at = rng.randrange(len(text) + 1)
            text = rng.choice(
                (
                    text[:at] + rng.choice(_BLANK) + text[at:],
                    text[:at] + text[at + 1 :],
                    text[:at] + rng.choice(";=@:/#?%") + text[at:],
                    text + rng.choice((";", " ", "; ", "\n")),
                    rng.choice(_BLANK) + text,
                )
            )
        yield text


def amounts(rng: random.Random) -> Iterator[str]:
    """Make texts of amounts, as BTCPay prints them and as people write them."""
    while True:
        number = str(rng.choice((0, 1, 7, 21, 1000, 10**8, 2_100_000_000_000_000, rng.randrange(10**18))))
        if rng.random() < 0.5:
            number += "." + str(
                rng.choice(("0", "5", "00000001", "00000000001", "000000000001", rng.randrange(10**11)))
            )
        number = rng.choice(("", "", "", "-", "+")) + number
        unit = rng.choice(
            ("", "", "", " sat", "sat", " msat", " btc", "BTC", " bits", " mBTC", "sats", " ", "\x1c", ",")
        )
        yield rng.choice(
            (number + unit, unit + number, number + unit, number.replace("0", "\u0660"), f" {number}{unit} ")
        )


def bolt11s(rng: random.Random, count: int) -> Iterator[str]:
    """Make signed BOLT11s for regtest: fields in any order, twice, missing or of wrong lengths; all amounts."""
    signer = InvoiceSigner()
    for _ in range(count):
        octets = {name: bech32.digits_of(rng.randbytes(32)) for name in "psh"}
        fields = [
            *(("p", octets["p"]), ("s", octets["s"])),
            rng.choice(
                (("d", bech32.digits_of(rng.choice((b"coffee", b"", "ä".encode(), b"x" * 300)))), ("h", octets["h"]))
            ),
            *rng.sample(
                (
                    ("x", _number(rng.choice((1, 60, 3600, 2**31, 2**34)))),
                    ("c", _number(rng.choice((9, 18, 144)))),
                    ("9", _number(0x4100 | rng.choice((0, 0, 1 << 16, 1 << 17, 1 << 30)))),
                    ("n", bech32.digits_of(rng.randbytes(33))[:53]),
                    ("f", bech32.digits_of(rng.randbytes(20))),
                    ("u", b"0000"),
                    ("m", bech32.digits_of(rng.randbytes(4))),
                ),
                rng.randrange(6),
            ),
        ]
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
            at = rng.randrange(len(fields))
            name, data = fields[at]
            match rng.randrange(5):
                case 0:
                    fields.append((name, bech32.digits_of(rng.randbytes(32))[: len(data)]))
                case 1:
                    fields.append((name, data))
                case 2:
                    del fields[at]
                case 3:
                    fields[at] = name, data[:-1]
                case _:
                    rng.shuffle(fields)
            if not fields:
                break
        amount = rng.choice(
            ("", "", "10u", "1m", "25m", "1n", "10p", "1p", "15p", "0u", "010u", "1", "21000000", "22000000")
        )
        digits = _number(1_795_000_000).rjust(7, b"0") + b"".join(_field(name, data) for name, data in fields)
        text = signer._sign(f"lnbcrt{amount}", digits)
        if rng.random() < 0.1:
            text = rng.choice(
                (text.upper(), text[:20] + text[20:].upper(), text[:-1], text.replace("lnbcrt", "lntb", 1))
            )
        yield text


# --- the two side by side -------------------------------------------------------------------------------------------


def compare(
    texts: list[str], answers: list[Any], class_of: Callable[[str, Any], str]
) -> dict[str, list[tuple[str, Any]]]:
    """Sort texts by how the two readers agree."""
    classes: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    for text, answer in zip(texts, answers, strict=True):
        classes[class_of(text, answer)].append((text, answer))
    return classes


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    rng = random.Random(given.seed)  # noqa: S311 - cases, no secrets
    oracle = Oracle(given.folder)
    found: dict[str, dict[str, list[tuple[str, Any]]]] = {}
    try:
        strings = list({text for text, _ in zip(connection_strings(rng), range(given.cases), strict=False)})
        lndhub = [text.strip().lower().startswith("lndhub://") for text in strings]
        orders = [
            {"op": "tostring", "cs": text} if by_client else {"op": "parse", "text": text}
            for text, by_client in zip(strings, lndhub, strict=True)
        ]
        found["connection strings"] = compare(strings, oracle.ask(orders), string_class)
        money = list({text for text, _ in zip(amounts(rng), range(given.cases), strict=False)})
        found["money"] = compare(money, oracle.ask([{"op": "money", "text": text} for text in money]), money_class)
        requests = list(bolt11s(rng, given.cases))
        answers = oracle.ask([{"op": "bolt11", "text": text, "network": "regtest"} for text in requests])
        found["BOLT11"] = compare(requests, answers, bolt11_class)
    finally:
        oracle.close()
    for subject, classes in found.items():
        for name, cases in sorted(classes.items(), key=lambda each: -len(each[1])):
            shortest = min((text for text, _ in cases), key=len)
            sys.stdout.write(f"{subject:20} {len(cases):7}  {name:60} {shortest!r:.60}\n")
    if given.write:
        kept = {subject: _examples(classes) for subject, classes in found.items()}
        VECTORS.write_text(json.dumps({"source": SOURCE, **kept}, indent=1) + "\n", encoding="utf-8")


def _examples(classes: dict[str, list[tuple[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Return the shortest texts of each class."""
    return {
        name: [
            {"text": text, "btcpay": answer}
            for text, answer in sorted(cases, key=lambda each: (len(each[0]), each[0]))[:_EXAMPLES]
        ]
        for name, cases in sorted(classes.items())
    }


SOURCE: Final = "BTCPayServer.Lightning 748f00f; made by tests/btcpay/differential.py"

if __name__ == "__main__":
    main()
