"""BTCPay's official .NET client of the Greenfield API behind lines of JSON, in a process of its own.

`python -m tests.btcpay.greenfield_client FOLDER URL KEY` takes the unpacked kit, the server's address and a key. A line
is `[method, argument, ...]`: an argument is null, a text, a number, or an object that becomes a request of the client.
It answers `{"ok": ...}`, or `{"error": type, "message": ...}` with `status` and `code`, or `fields`, where there are.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from asyncio.subprocess import Process

__all__ = ["GreenfieldClient"]

_SECONDS: Final = 50.0


class GreenfieldClient:
    """The official client, seen from a test.

    Args:
        kit: The folder with BTCPay and the .NET runtime.
        url: The server.
        key: What opens it.

    """

    def __init__(self, kit: Path, url: str, key: str) -> None:
        self._arguments = (str(kit), url, key)
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.btcpay.greenfield_client",
            *self._arguments,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "DOTNET_gcServer": "0", "DOTNET_CLI_TELEMETRY_OPTOUT": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.communicate()

    async def ask(self, method: str, *arguments: Any) -> dict[str, Any]:
        """Call a method; gives `ok`, or `error` and what it says."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([method, *arguments]).encode() + b"\n")
        async with asyncio.timeout(_SECONDS):
            line = await self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def ok(self, method: str, *arguments: Any) -> Any:
        """Call a method that has to succeed; gives what it gives."""
        answer = await self.ask(method, *arguments)
        assert "error" not in answer, f"{method}: {answer}"
        return answer["ok"]


def _serve(kit: Path, url: str, key: str) -> None:
    """Answer line by line."""
    pythonnet = import_module("pythonnet")
    settings = kit / "btcpay" / "BTCPayServer.runtimeconfig.json"
    pythonnet.load("coreclr", runtime_config=str(settings), dotnet_root=str(kit / "dotnet"))
    clr = import_module("clr")
    sys.path.append(str(kit / "btcpay"))
    for assembly in ("BTCPayServer.Client", "Newtonsoft.Json"):
        clr.AddReference(assembly)
    system = import_module("System")
    client = import_module("BTCPayServer.Client").BTCPayServerClient(system.Uri(url), key)
    methods = list(client.GetType().GetMethods())
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        (method,) = [each for each in methods if each.Name == name and _takes(each, len(arguments))]
        try:
            answer = {"ok": _call(client, method, arguments)}
        except system.Exception as error:
            answer = _problem(error)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _takes(method: Any, count: int) -> bool:
    """Whether a method takes this many arguments before the token that cancels it."""
    taken = [each.ParameterType.Name for each in method.GetParameters()]
    return len([each for each in taken if each != "CancellationToken"]) == count


def _call(client: Any, method: Any, arguments: list[Any]) -> Any:
    system, convert = import_module("System"), import_module("Newtonsoft.Json").JsonConvert
    boxes = {bool: system.Boolean, int: system.Int64}
    given = [
        boxes[type(value)](value)
        if type(value) in boxes
        else convert.DeserializeObject(json.dumps(value), parameter.ParameterType)
        for value, parameter in zip(arguments, method.GetParameters(), strict=False)
    ]
    never = system.Threading.CancellationToken(False)  # noqa: FBT003 - .NET's signature
    task = method.Invoke(client, system.Array[system.Object]([*given, never]))
    task.GetAwaiter().GetResult()
    result = task.GetType().GetProperty("Result")
    return None if result is None else json.loads(convert.SerializeObject(result.GetValue(task)))


def _problem(error: Any) -> dict[str, Any]:
    while error.InnerException is not None:
        error = error.InnerException
    told: dict[str, Any] = {"error": error.GetType().Name, "message": error.Message}
    if hasattr(error, "ValidationErrors"):
        told["fields"] = [each.Path for each in error.ValidationErrors]
    if hasattr(error, "APIError"):
        told |= {"status": error.HttpCode, "code": error.APIError.Code}
    return told


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
