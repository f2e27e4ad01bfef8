"""BTCPay's Lightning library behind lines of JSON: what it makes of each answer of the host."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tests.btcpay.kit import BtcPay

__all__ = ["Probe"]


class Probe:
    """The library, in a process of its own, connected to one host."""

    def __init__(self, btcpay: BtcPay, connection_string: str) -> None:
        command, environment = btcpay.probe
        self._connection_string = connection_string
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self, operation: str, **more: Any) -> int:
        """Have one operation done beside what follows; gives the number that its answer is asked for by."""
        assert self._process.stdin is not None
        self._number += 1
        order = {"n": self._number, "op": operation, "cs": self._connection_string, "background": True, **more}
        self._process.stdin.write(json.dumps(order) + "\n")
        return self._number

    def answer(self, number: int) -> dict[str, Any]:
        """Wait for the answer to an operation: `ok`, or `error` and `message`."""
        assert self._process.stdout is not None
        while number not in self._answers:
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
            self._answers[answer["n"]] = answer
        return self._answers.pop(number)

    def ask(self, operation: str, **more: Any) -> dict[str, Any]:
        """Have one operation done; gives `ok`, or `error` and `message`."""
        return self.answer(self.begin(operation, **more))

    def ok(self, operation: str, **more: Any) -> Any:
        """Have one operation done that has to succeed; gives what it gives."""
        answer = self.ask(operation, **more)
        assert "error" not in answer, answer
        return answer["ok"]
