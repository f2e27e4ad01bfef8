from __future__ import annotations

import pytest

from tests.support.peer import install


def test_without_node_the_peer_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer without Node loses these tests, and is told why."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"Node\.js and npm are needed"):
        install()


def test_without_node_the_gate_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where CI is set nobody would notice a skip, so it fails."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match=r"Node\.js and npm are needed"):
        install()
