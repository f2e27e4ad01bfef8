from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.flash_driver.sandbox.replay import CAPTURES, Replay, normal

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.conftest import StartLab


@pytest.mark.parametrize("case", CAPTURES["http"], ids=lambda case: case["name"])
async def test_a_request_is_answered_as_flash_answers_it(start_lab: StartLab, case: dict[str, Any]) -> None:
    """The same status, codes, words, paths and places, up to ids and the custodian's numbers."""
    replay = await Replay.of(start_lab, case)
    status, headers, body = await replay.ask(case)
    assert (status, normal(body)) == (case["status"], case["body"])
    for name, value in case.get("answer_headers", {}).items():
        assert headers[name] == value


@pytest.mark.parametrize("case", CAPTURES["websocket"], ids=lambda case: case["name"])
async def test_a_socket_speaks_as_that_of_flash(start_lab: StartLab, case: dict[str, Any]) -> None:
    """The same frames, close codes and reasons."""
    replay = await Replay.of(start_lab, case)
    await replay.converse(case)


def test_each_capture_is_replayed_or_left_out_for_a_reason() -> None:
    """No case is lost on the way."""
    assert len(CAPTURES["http"]) + len(CAPTURES["websocket"]) + len(CAPTURES["left_out"]) == 301
    assert all(CAPTURES["left_out"].values())
