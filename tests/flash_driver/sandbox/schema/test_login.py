from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.flash_driver.sandbox.clients import ME

if TYPE_CHECKING:
    from tests.flash_driver.sandbox.clients import Lab
    from tests.flash_driver.sandbox.conftest import StartLab

PHONE, CODE = "+12025550148", "123456"
CHALLENGE = """
mutation { payload: captchaCreateChallenge {
  errors { message } result { id challengeCode newCaptcha failbackMode }
} }
"""
REQUEST = """
mutation($input: CaptchaRequestAuthCodeInput!) {
  payload: captchaRequestAuthCode(input: $input) { errors { message code } success }
}
"""
LOGIN = """
mutation($input: UserLoginInput!) {
  payload: userLogin(input: $input) { errors { message code } authToken totpRequired }
}
"""


async def _payload(lab: Lab, mutation: str, **values: Any) -> Any:
    variables = {"input": values} if values else {}
    return (await lab.http(mutation, headers={}, **variables)).data["payload"]


async def _request_code(lab: Lab, **more: Any) -> Any:
    challenge = (await _payload(lab, CHALLENGE))["result"]["challengeCode"]
    solved = {"phone": PHONE, "challengeCode": challenge, "validationCode": "v", "secCode": "s", "channel": "WHATSAPP"}
    return await _payload(lab, REQUEST, **{**solved, **more})


async def _works(lab: Lab, token: str) -> int:
    return (await lab.http(ME, headers={"Authorization": f"Bearer {token}"})).status


async def test_a_phone_logs_in(lab: Lab) -> None:
    """Captcha, code, token; the earlier session stays, and each code counts once."""
    assert await _request_code(lab) == {"errors": [], "success": True}
    session = await _payload(lab, LOGIN, phone=PHONE, code=CODE)
    assert (session["errors"], session["totpRequired"]) == ([], False)
    assert session["authToken"].startswith("ory_st_")
    assert [await _works(lab, token) for token in (session["authToken"], lab.sandbox.token)] == [200, 200]
    again = await _payload(lab, LOGIN, phone=PHONE, code=CODE)
    assert again["errors"][0]["code"] == "PHONE_CODE_ERROR"


@pytest.mark.parametrize("wrong", [{"challengeCode": "no"}, {"validationCode": ""}, {"secCode": ""}])
async def test_a_captcha_has_to_be_solved(lab: Lab, wrong: dict[str, str]) -> None:
    """Without a solution no code is sent, and so none is right."""
    refused = await _request_code(lab, **wrong)
    assert refused == {"errors": [{"message": "Captcha validation failed.", "code": "INVALID_INPUT"}], "success": False}
    assert (await _payload(lab, LOGIN, phone=PHONE, code=CODE))["authToken"] is None


@pytest.mark.parametrize(
    ("phone", "code", "words"),
    [
        (PHONE, "654321", "Invalid or incorrect code entered."),
        ("+12025550149", CODE, "Invalid or incorrect code entered."),
        ("0202", CODE, "Phone number is not a valid phone number"),
        (PHONE, "12", "Invalid value for OneTimeAuthCode"),
    ],
)
async def test_the_wrong_phone_or_code(lab: Lab, phone: str, code: str, words: str) -> None:
    """The words say which, and there is no token."""
    await _request_code(lab)
    answer = await _payload(lab, LOGIN, phone=phone, code=code)
    assert (answer["errors"][0]["message"], answer["authToken"]) == (words, None)


async def test_a_second_factor(start_lab: StartLab) -> None:
    """With TOTP the token does not work before a code was given for it at `/auth/totp/validate`."""
    lab = await start_lab(totp_code="000111")
    await _request_code(lab)
    session = await _payload(lab, LOGIN, phone=PHONE, code=CODE)
    assert session["totpRequired"] is True
    url, token = lab.sandbox.server.replace("/graphql", "/auth/totp/validate"), session["authToken"]
    assert await _works(lab, token) == 401
    statuses = []
    for body in ({}, {"totpCode": "999999", "authToken": token}, {"totpCode": "000111", "authToken": token}):
        async with lab.session.post(url, json=body) as response:
            statuses.append(response.status)
    assert statuses == [422, 401, 200]
    assert await _works(lab, token) == 200
