from __future__ import annotations

import copy
import json
import pickle
import traceback
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connection_strings import ConnectionString, ConnectionStringError, Secret
from connection_strings.grammar import MAX_LENGTH

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "connection_strings.json").read_text(encoding="utf-8")
)

# As long as a real session token, so that no place of a connection string can take it for a name.
CANARY = "ory_st_CANARYcanaryCANARYcanaryCANARYca"

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", fullmatch=True)
keys = names.filter(lambda name: name.lower() != "type")
values = st.text(st.characters(exclude_characters=";"), max_size=40).filter(str.isprintable)
pieces = st.lists(
    st.sampled_from([";", "=", " ", "\n", "type", "type=x", "token", "server", "https://", "@", "/", ":", "?", CANARY])
    | st.sampled_from(["lndhub://", "tcp://", "unix://", "login:password", "\u200b", "\ud800", "\x00"])
    | st.text(max_size=5),
    max_size=12,
).map("".join)


def _named(kind: str) -> list[Any]:
    return [pytest.param(row, id=row["name"]) for row in VECTORS[kind]]


def _told(error: BaseException) -> str:
    """Everything that a log could hold of an error."""
    return "\n".join([str(error), repr(error), str(error.args), str(vars(error)), *traceback.format_exception(error)])


class TestVectors:
    """The data file: what is accepted and what is refused."""

    @pytest.mark.parametrize("row", _named("accepted"))
    def test_accepted(self, row: dict[str, Any]) -> None:
        """An accepted text gives its type, its values and its canonical text."""
        parsed = ConnectionString.parse(row["text"])

        assert row["type"] == parsed.type
        assert row["values"] == parsed.values
        assert row["canonical"] == parsed.render()

    @pytest.mark.parametrize("row", _named("accepted"))
    def test_canonical_text_is_a_fixed_point(self, row: dict[str, Any]) -> None:
        """The canonical text means the same as the text it came from, and renders to itself."""
        again = ConnectionString.parse(row["canonical"])

        assert ConnectionString.parse(row["text"]) == again
        assert row["canonical"] == again.render()

    @pytest.mark.parametrize("row", _named("refused"))
    def test_refused(self, row: dict[str, Any]) -> None:
        """A refused text gives one error with the key, the position and the reason."""
        with pytest.raises(ConnectionStringError) as caught:
            ConnectionString.parse(row["text"])

        assert (row["key"], row["position"]) == (caught.value.key, caught.value.position)
        assert row["reason"] in caught.value.reason

    def test_rows_say_one_thing(self) -> None:
        """There are enough rows, each under a name of its own, each either accepted or refused."""
        accepted, refused = VECTORS["accepted"], VECTORS["refused"]
        rows = accepted + refused

        assert len(rows) >= 60
        assert len(rows) == len({row["name"] for row in rows}) == len({row["text"] for row in rows})
        assert {frozenset(row) for row in accepted} == {frozenset({"name", "text", "type", "values", "canonical"})}
        assert {frozenset(row) for row in refused} == {frozenset({"name", "text", "key", "position", "reason"})}


class TestParse:
    """Reading a text."""

    @given(type_=names, given_values=st.dictionaries(keys.map(str.lower), values, max_size=6))
    def test_round_trip(self, type_: str, given_values: dict[str, str]) -> None:
        """Whatever can be built can be rendered, and what is rendered parses to an equal value."""
        built = ConnectionString(type_, given_values)

        parsed = ConnectionString.parse(built.render())

        assert built == parsed
        assert hash(built) == hash(parsed)
        assert built.render() == parsed.render()
        assert {key: value.strip() for key, value in given_values.items()} == parsed.values

    @given(text=st.text() | pieces)
    @example("type=x;server=https://a@b@c")
    @example("lndhub://:@https://")
    def test_one_kind_of_error(self, text: str) -> None:
        """Any text at all either parses, and then round-trips, or raises ConnectionStringError."""
        try:
            parsed = ConnectionString.parse(text)
        except ConnectionStringError as error:
            assert error.position is None or 0 <= error.position <= len(text)  # noqa: PT017 - both ends are right here
        else:
            assert parsed == ConnectionString.parse(parsed.render())

    @given(before=pieces, after=pieces)
    def test_no_error_tells_a_value(self, before: str, after: str) -> None:
        """No error shows a value, wherever in a broken text it stands."""
        try:
            ConnectionString.parse(before + CANARY + after)
        except ConnectionStringError as error:
            assert CANARY.lower() not in _told(error).lower()  # noqa: PT017 - most texts fail, some parse

    def test_length_limit(self) -> None:
        """A text of the greatest length is read; one character more is refused."""
        longest = "type=x;token=".ljust(MAX_LENGTH, "t")

        assert longest == ConnectionString.parse(longest).render()
        with pytest.raises(ConnectionStringError, match=r"^a connection string has at most 16384 characters.*16385$"):
            ConnectionString.parse(longest + "t")

    def test_length_limit_of_the_canonical_text(self) -> None:
        """An older form is refused when its canonical text would be too long to be parsed again."""
        with pytest.raises(ConnectionStringError, match="at most 16384 characters"):
            ConnectionString.parse("/".ljust(MAX_LENGTH, "p"))

    @pytest.mark.parametrize("text", [None, b"type=flash", Secret("type=flash"), 1])
    def test_text_only(self, text: Any) -> None:
        """What is not a str is a mistake of the program, not of the configuration."""
        with pytest.raises(TypeError, match=rf"^a connection string is text \(str\), not {type(text).__name__}$"):
            ConnectionString.parse(text)


class TestConstructor:
    """Building a string from its parts."""

    def test_parts_are_brought_into_shape(self) -> None:
        """Keys and type become lower case, blanks around anything are dropped."""
        built = ConnectionString(" Flash ", {" Token ": " T "})

        assert built.render() == "type=flash;token=T"

    @pytest.mark.parametrize(
        ("type_", "parts", "key", "reason"),
        [
            ("", {}, "type", "the key 'type' has no value"),
            ("a;b", {}, "type", "the value of 'type' holds a ';', which separates pairs"),
            ("x", {"type": "y"}, "type", "the key 'type' is given twice"),
            ("x", {"a": "1", "A": "2"}, "a", "the key 'a' is given twice"),
            ("x", {"": "1"}, None, "the key before '=' is missing"),
            (
                "x",
                {"a=b": "1"},
                None,
                "this is no key: a key has at most 32 letters, digits, dots, dashes and underscores",
            ),
            ("x", {"a": "1;b=2"}, "a", "the value of 'a' holds a ';', which separates pairs"),
            ("x", {"a": "1\n2"}, "a", "the value of 'a' holds a line break, control or invisible character"),
        ],
    )
    def test_same_rules_as_in_a_text(self, type_: str, parts: dict[str, str], key: str | None, reason: str) -> None:
        """Parts that could not stand in a text are refused; there is no position to tell."""
        with pytest.raises(ConnectionStringError) as caught:
            ConnectionString(type_, parts)

        assert (reason, key, None) == (str(caught.value), caught.value.key, caught.value.position)

    def test_a_separator_cannot_be_smuggled_in(self) -> None:
        """A value from a form can't add a key of its own."""
        with pytest.raises(ConnectionStringError):
            ConnectionString("flash", {"token": "t;server=https://elsewhere.example"})


class TestAccess:
    """Taking values out."""

    parsed = ConnectionString.parse("type=flash; token=ory_st_x;Server=https://h/;empty=")

    def test_get(self) -> None:
        """`get` returns a value, the default for a missing key, and an empty value as it is."""
        assert self.parsed.get("server") == "https://h/"
        assert self.parsed.get("currency") is None
        assert self.parsed.get("currency", "USD") == "USD"
        assert self.parsed.get("empty", "USD") == ""

    def test_type_is_no_value(self) -> None:
        """`type` says who reads the string; it is not among the values."""
        assert self.parsed.get("type") is None
        assert list(self.parsed.values) == ["empty", "server", "token"]

    def test_secret(self) -> None:
        """`secret` wraps a value, also an empty one, and returns None for a missing key."""
        assert self.parsed.secret("token") == Secret("ory_st_x")
        assert self.parsed.secret("empty") == Secret("")
        assert self.parsed.secret("password") is None

    def test_position(self) -> None:
        """`position` is where the key stands in the text that was parsed."""
        assert self.parsed.position("token") == 12
        assert self.parsed.position("server") == 27
        assert self.parsed.position("currency") is None
        assert ConnectionString("flash", {"token": "t"}).position("token") is None


class TestValue:
    """A connection string is a value: compared by content, never changed."""

    parsed = ConnectionString.parse("type=flash;token=t;server=https://h/")

    def test_equal_by_content(self) -> None:
        """Order, case of keys and blanks don't count."""
        same = ConnectionString.parse("Server = https://h/ ; TYPE=Flash; token=t;")

        assert same == self.parsed
        assert len({same, self.parsed}) == 1

    @pytest.mark.parametrize(
        "other", ["type=flash;token=t", "type=flash;token=T;server=https://h/", "type=x;token=t;server=https://h/"]
    )
    def test_different_by_content(self, other: str) -> None:
        """Another type, another key or another value makes another string."""
        assert ConnectionString.parse(other) != self.parsed

    def test_not_equal_to_its_text(self) -> None:
        """A value is not its text, nor its values."""
        assert self.parsed != self.parsed.render()
        assert self.parsed != self.parsed.values

    @pytest.mark.parametrize("name", ["type", "values", "token"])
    def test_attributes_cannot_be_set(self, name: str) -> None:
        """Nothing of a string can be changed."""
        with pytest.raises(AttributeError):
            setattr(self.parsed, name, "x")

    def test_values_cannot_be_set(self) -> None:
        """The mapping of values has no way to write."""
        assert isinstance(self.parsed.values, Mapping)
        assert not isinstance(self.parsed.values, MutableMapping)
        with pytest.raises(TypeError, match="does not support item assignment"):
            self.parsed.values["token"] = "x"  # type: ignore[index]  # that it can't be is the point

    def test_copies_are_the_value_itself(self) -> None:
        """Copying a frozen value returns it."""
        for value in (self.parsed, self.parsed.values):
            assert copy.copy(value) is value
            assert copy.deepcopy(value) is value

    def test_pickling_is_refused(self) -> None:
        """A string, or its values, can't slip into a pickle."""
        with pytest.raises(TypeError, match=r"^a ConnectionString can't be pickled; render\(\) it where the text"):
            pickle.dumps(self.parsed)
        with pytest.raises(TypeError, match=r"^the values of a ConnectionString can't be pickled"):
            pickle.dumps(self.parsed.values)

    def test_json_is_refused(self) -> None:
        """A string can't slip into JSON."""
        with pytest.raises(TypeError, match="not JSON serializable"):
            json.dumps(self.parsed)


class TestMask:
    """What may be seen of a connection string."""

    def test_shows_keys_type_and_server(self) -> None:
        """The repr shows type, keys and the server, and looks like no text that could be parsed."""
        parsed = ConnectionString.parse("type=flash;token=t;server=https://h/graphql;websocket=wss://w")
        shown = "<ConnectionString type=flash;server=https://h/graphql;token=***;websocket=***>"

        assert repr(parsed) == str(parsed) == f"{parsed}" == shown
        assert repr(parsed.values) == "{server: https://h/graphql, token: ***, websocket: ***}"
        with pytest.raises(ConnectionStringError):
            ConnectionString.parse(shown)

    @pytest.mark.parametrize(
        ("server", "shown"),
        [
            ("https://h", "https://h"),
            ("HTTPS://h:8080/a/b", "HTTPS://h:8080/a/b"),
            ("http://[::1]:4010/graphql", "http://[::1]:4010/graphql"),
            ("unix://root/rpc", "unix://root/rpc"),
            ("unix:///root/rpc", "unix:///root/rpc"),
            ("https://user:pass@h/", "https://h/"),
            ("https://user:pa:ss@h/", "https://h/"),
            ("https://@h/", "https://h/"),
            ("https://h/?token=t", "https://h/"),
            ("https://h/#token", "https://h/"),
            ("https://u:p@h:1/a?b#c", "https://h:1/a"),
            ("", "***"),
            ("h/graphql", "***"),
            ("user:pass@h", "***"),
            ("https:/h", "***"),
            ("https://user:pa@ss@h/", "***"),
            ("https://user:pa/ss@h/", "***"),
            ("https://user:pa?ss@h/", "***"),
            ("https://user:pa#ss@h/", "***"),
            ("https://user:pass", "***"),
            ("https://h/?mail=a@b", "***"),
        ],
    )
    def test_server(self, server: str, shown: str) -> None:
        """User info, query and fragment are cut off; an address that is not beyond doubt is not shown."""
        assert repr(ConnectionString("x", {"server": server})) == f"<ConnectionString type=x;server={shown}>"

    @pytest.mark.parametrize("form", ["user:{}@h", "https://{}@h/", "https://u:{}@h/", "https://h/?{}", "https://h#{}"])
    @given(around=st.text("@:/?#[]a=", max_size=4))
    def test_no_secret_of_a_server_is_shown(self, form: str, around: str) -> None:
        """However odd the characters next to it, user info, query and fragment stay hidden."""
        for secret in (f"{around}{CANARY}", f"{CANARY}{around}"):
            assert CANARY not in repr(ConnectionString("x", {"server": form.format(secret)}))

    @given(key=keys.filter(lambda key: key.lower() != "server"), before=values, after=values)
    def test_no_other_value_is_shown(self, key: str, before: str, after: str) -> None:
        """No text made of a string shows a value other than the server's."""
        parsed = ConnectionString("x", {key: f"{before}{CANARY}{after}"})
        views = [parsed.values.items(), parsed.values.keys(), parsed.values.values()]

        for shown in (parsed, parsed.values, *views):
            assert CANARY not in f"{shown!r}{shown!s}{shown}"
