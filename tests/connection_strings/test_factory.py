from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import pytest

from connection_strings import (
    ConnectionString,
    ConnectionStringError,
    CredentialRejected,
    LightningClientFactory,
    LightningConnectionStringHandler,
    UnknownConnectionType,
)
from connection_strings.factory import ENTRY_POINT_GROUP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from connection_strings import LightningClient

CANARY = "ory_st_CANARY"


class Client:
    """Stands for a client; remembers what it was made from."""

    def __init__(self, connection_string: ConnectionString) -> None:
        self.connection_string = connection_string


class Handler:
    """A driver that takes every string of its type."""

    type = "good"

    def create(self, connection_string: ConnectionString) -> LightningClient | None:
        """Make a client."""
        return cast("LightningClient", Client(connection_string))


class OtherHandler(Handler):
    """A driver of another type, spelt in capitals."""

    type = "Other"


class FinickyHandler(Handler):
    """A driver that answers as the test wants it to."""

    def __init__(self, answer: Callable[[], None]) -> None:
        self.answer = answer

    def create(self, connection_string: ConnectionString) -> LightningClient | None:  # noqa: ARG002 - see the base
        """Raise what the test wants, or hand out no client."""
        return self.answer()


def _raise(error: Exception) -> Callable[[], None]:
    def answer() -> None:
        raise error

    return answer


class TestGivenHandlers:
    """A factory with handlers of the host's choice."""

    @pytest.mark.parametrize("handler", [Handler, Handler()], ids=["class", "object"])
    @pytest.mark.parametrize(
        "text", ["type=good;token=t", "TYPE=Good;token=t", ConnectionString("good", {"token": "t"})]
    )
    def test_client(self, handler: Any, text: str | ConnectionString) -> None:
        """A string of a handler's type, as text or parsed, gives that handler's client."""
        client = LightningClientFactory(handlers=[handler]).create(text)

        assert isinstance(client, Client)
        assert client.connection_string == ConnectionString("good", {"token": "t"})

    def test_type_decides(self) -> None:
        """Only the handler whose type the string names is asked, whatever the case."""
        factory = LightningClientFactory(
            handlers=(handler for handler in (FinickyHandler(_raise(KeyError())), OtherHandler))
        )

        assert factory.types == ("good", "other")
        assert isinstance(factory.create("type=other;token=t"), Client)

    def test_unknown_type(self) -> None:
        """A type without a driver is told together with those that have one, and the nearest."""
        factory = LightningClientFactory(handlers=[Handler, OtherHandler])

        with pytest.raises(
            UnknownConnectionType, match=r"^type=clightning has no driver installed; installed: good, other$"
        ):
            factory.create("/root/.lightning/lightning-rpc")
        with pytest.raises(UnknownConnectionType, match=r"installed: good, other; did you mean other\?$"):
            factory.create("type=othr")

    def test_no_handlers_are_none(self) -> None:
        """An empty list means none, not those installed."""
        factory = LightningClientFactory(handlers=[])

        assert factory.types == ()
        with pytest.raises(UnknownConnectionType, match=r"installed: none$"):
            factory.create("type=flash")

    def test_malformed(self) -> None:
        """A text that is no connection string is refused before any handler sees it."""
        with pytest.raises(ConnectionStringError, match=r"^the connection string is empty"):
            LightningClientFactory(handlers=[Handler]).create(" ")

    @pytest.mark.parametrize(
        "refusal", [ConnectionStringError("the key 'token' is missing", key="token"), CredentialRejected("expired")]
    )
    def test_refusal_of_the_driver(self, refusal: Exception) -> None:
        """What the driver says about its own string reaches the host as it is."""
        factory = LightningClientFactory(handlers=[FinickyHandler(_raise(refusal))])

        with pytest.raises(type(refusal)) as caught:
            factory.create("type=good")

        assert caught.value is refusal

    def test_driver_that_does_not_want_it(self) -> None:
        """A driver that disowns a string of its own type is named."""
        factory = LightningClientFactory(handlers=[FinickyHandler(lambda: None)])

        with pytest.raises(ConnectionStringError) as caught:
            factory.create("type=good")

        assert str(caught.value) == "the driver of type=good (FinickyHandler) says that the string is not for it"

    def test_driver_that_breaks(self) -> None:
        """An accident in a driver names the driver and the kind of the error, whose words may quote a value."""
        accident = KeyError(CANARY)
        factory = LightningClientFactory(handlers=[FinickyHandler(_raise(accident))])

        with pytest.raises(ConnectionStringError) as caught:
            factory.create(f"type=good;token={CANARY}")

        assert str(caught.value) == "the driver of type=good (FinickyHandler) failed with KeyError"
        assert caught.value.__cause__ is accident
        assert CANARY not in f"{caught.value!r}{vars(caught.value)}"

    def test_cancellation_passes(self) -> None:
        """What is no Exception is not the driver's accident."""

        class Stop(BaseException):
            """A wish to stop."""

        def stop() -> None:
            raise Stop

        with pytest.raises(Stop):
            LightningClientFactory(handlers=[FinickyHandler(stop)]).create("type=good")

    def test_two_of_a_type(self) -> None:
        """Two handlers of one type are refused when the factory is made."""
        with pytest.raises(ConnectionStringError, match=r"^type=good has two drivers: Handler and FinickyHandler$"):
            LightningClientFactory(handlers=[Handler, FinickyHandler(lambda: None)])

    @pytest.mark.parametrize("thing", [object, "good", Client(ConnectionString("good", {})), None])
    def test_no_handler(self, thing: Any) -> None:
        """What is no handler is refused when the factory is made."""
        with pytest.raises(TypeError, match=r"is not a handler: it needs `type` and `create`$"):
            LightningClientFactory(handlers=[thing])

    def test_handler_protocol(self) -> None:
        """A handler has a type and creates clients; nothing else is asked of it."""
        assert isinstance(Handler(), LightningConnectionStringHandler)
        assert not isinstance(object(), LightningConnectionStringHandler)


SOURCE = """
class Handler:
    type = "{type}"

    def create(self, connection_string):
        return self, connection_string
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that installs a made-up distribution, for the length of a test."""

    def install(distribution: str, entries: dict[str, str], **modules: str) -> None:
        folder = tmp_path / distribution
        metadata = folder / f"{distribution}-1.2.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        lines = [f"[{ENTRY_POINT_GROUP}]", *(f"{name} = {value}" for name, value in entries.items())]
        (metadata / "entry_points.txt").write_text("\n".join(lines))
        for module, source in modules.items():
            (folder / f"{module}.py").write_text(source)
            # Undone with everything else, so that no module outlives its test.
            monkeypatch.setitem(sys.modules, module, cast("Any", None))
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.syspath_prepend(str(folder))

    return install


class TestInstalledHandlers:
    """A factory that finds its handlers by entry point."""

    def test_found_by_name(self, install: Callable[..., None]) -> None:
        """A driver is found by the name of its entry point, as a class or as an object, and kept."""
        source = SOURCE.format(type="made-up") + '\nobject_ = Handler()\nobject_.type = "thing"\n'
        install(
            "made_up", {"made-up": "made_up_driver:Handler", "thing": "made_up_driver:object_"}, made_up_driver=source
        )
        factory = LightningClientFactory()

        first, parsed = cast("Any", factory.create("type=made-up;token=t"))
        second, _ = cast("Any", factory.create("type=Made-Up;token=t"))
        other, _ = cast("Any", factory.create("type=thing"))

        assert parsed == ConnectionString("made-up", {"token": "t"})
        assert first is second
        assert (first.type, other.type) == ("made-up", "thing")
        assert {"made-up", "thing"} <= set(factory.types)

    def test_looked_up_late_and_once(self, install: Callable[..., None]) -> None:
        """Discovery happens at first use, not when the factory is made, and not again."""
        factory = LightningClientFactory()
        install("late", {"late": "late_driver:Handler"}, late_driver=SOURCE.format(type="late"))
        assert "late" in factory.types

        install("later", {"later": "later_driver:Handler"}, later_driver=SOURCE.format(type="later"))
        assert "later" not in factory.types
        assert "later" in LightningClientFactory().types

    def test_only_the_driver_asked_for_is_imported(self, install: Callable[..., None]) -> None:
        """A broken neighbour does no harm: listing and using another driver don't import it."""
        entries = {"fine": "fine_driver:Handler", "broken": "broken_driver:Handler"}
        install("two", entries, fine_driver=SOURCE.format(type="fine"), broken_driver="raise RuntimeError('boom')")
        factory = LightningClientFactory()

        assert {"broken", "fine"} <= set(factory.types)
        assert factory.create("type=fine") is not None
        assert "broken_driver" not in sys.modules

    @pytest.mark.parametrize(
        ("source", "entry", "reason", "cause"),
        [
            (
                "import no_such_module_anywhere",
                "faulty_driver:Handler",
                "can't be loaded: ModuleNotFoundError: No module named 'no_such_module_anywhere'",
                ModuleNotFoundError,
            ),
            (
                "raise RuntimeError('boom')",
                "faulty_driver:Handler",
                "can't be loaded: RuntimeError: boom",
                RuntimeError,
            ),
            (
                "",
                "faulty_driver:Handler",
                "can't be loaded: AttributeError: module 'faulty_driver' has no attribute 'Handler'",
                AttributeError,
            ),
            (
                "class Handler:\n    def __init__(self): raise OSError('no disk')",
                "faulty_driver:Handler",
                "can't be loaded: OSError: no disk",
                OSError,
            ),
            (
                "class Handler: pass",
                "faulty_driver:Handler",
                "can't be loaded: TypeError: Handler is not a handler: it needs `type` and `create`",
                TypeError,
            ),
            (SOURCE.format(type="else"), "faulty_driver:Handler", "answers to type=else", None),
        ],
        ids=["import", "module", "attribute", "constructor", "shape", "type"],
    )
    def test_faulty_driver(
        self, install: Callable[..., None], source: str, entry: str, reason: str, cause: type[Exception] | None
    ) -> None:
        """A driver that can't be used is told by type, distribution and reason."""
        install("faulty", {"faulty": entry}, faulty_driver=source)

        with pytest.raises(ConnectionStringError) as caught:
            LightningClientFactory().create(f"type=faulty;token={CANARY}")

        assert str(caught.value) == f"the driver of type=faulty (faulty 1.2) {reason}"
        assert (type(caught.value.__cause__) if cause else None) is cause
        assert caught.value.key == "type"

    def test_two_distributions_of_a_type(self, install: Callable[..., None]) -> None:
        """Two drivers of one type are told by their distributions, and only when that type is asked for."""
        install("left", {"twice": "left_driver:Handler"}, left_driver=SOURCE.format(type="twice"))
        install(
            "right",
            {"Twice": "right_driver:Handler", "once": "one_driver:Handler"},
            one_driver=SOURCE.format(type="once"),
        )
        factory = LightningClientFactory()

        assert factory.create("type=once") is not None
        with pytest.raises(ConnectionStringError) as caught:
            factory.create("type=twice")

        assert str(caught.value) == "type=twice has more than one driver: left 1.2 and right 1.2; keep one"

    def test_unknown_type_lists_those_installed(self, install: Callable[..., None]) -> None:
        """A near miss names the installed driver that was meant."""
        install("near", {"nearby": "nearby_driver:Handler"})

        with pytest.raises(UnknownConnectionType, match=r"did you mean nearby\?$") as caught:
            LightningClientFactory().create("type=naerby")

        assert "nearby" in caught.value.installed

    def test_entry_without_a_distribution(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An entry point that belongs to no distribution is told by what it points to."""
        from importlib import metadata  # noqa: PLC0415 - replaced here only

        entry = metadata.EntryPoint(name="loose", value="no_such_module_anywhere:x", group=ENTRY_POINT_GROUP)
        monkeypatch.setattr(metadata, "entry_points", lambda group: [entry] if group == ENTRY_POINT_GROUP else [])

        with pytest.raises(
            ConnectionStringError, match=r"^the driver of type=loose \(no_such_module_anywhere:x\) can't"
        ):
            LightningClientFactory().create("type=loose")
