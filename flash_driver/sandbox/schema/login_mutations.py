"""Flash's mutations that give a session: captcha, code, login (docs of Flash: `spectaql/TUTORIAL.md`)."""

# ruff: noqa: A002 - Flash calls the argument of its operations `input`

from enum import Enum

import strawberry

from flash_driver.sandbox.bank.refusals import Refused
from flash_driver.sandbox.schema.context import Info
from flash_driver.sandbox.schema.resolving import telling, told
from flash_driver.sandbox.schema.scalars import AuthToken, OneTimeAuthCode, Phone
from flash_driver.sandbox.schema.types import Error

__all__ = [
    "AuthTokenPayload",
    "CaptchaCreateChallengePayload",
    "CaptchaCreateChallengeResult",
    "CaptchaRequestAuthCodeInput",
    "LoginMutations",
    "PhoneCodeChannelType",
    "SuccessPayload",
    "UserLoginInput",
]


@strawberry.enum
class PhoneCodeChannelType(Enum):
    """How a code travels to a phone."""

    SMS = "SMS"
    WHATSAPP = "WHATSAPP"


@strawberry.type
class CaptchaCreateChallengeResult:
    """A captcha to be solved in a browser."""

    id: str
    challenge_code: str
    new_captcha: bool
    failback_mode: bool


@strawberry.type
class CaptchaCreateChallengePayload:
    """The answer to a wish for a captcha."""

    errors: list[Error]
    result: CaptchaCreateChallengeResult | None = None


@strawberry.input
class CaptchaRequestAuthCodeInput:
    """A solved captcha, and the phone that a code is wanted for."""

    phone: Phone
    challenge_code: str
    validation_code: str
    sec_code: str
    channel: PhoneCodeChannelType | None = None


@strawberry.type
class SuccessPayload:
    """Whether something was done."""

    errors: list[Error]
    success: bool | None = None


@strawberry.input
class UserLoginInput:
    """A phone and the code that came to it."""

    phone: Phone
    code: OneTimeAuthCode


@strawberry.type
class AuthTokenPayload:
    """A session token, if the code was right."""

    errors: list[Error]
    auth_token: AuthToken | None = None
    totp_required: bool | None = None


def _not_done(refusal: Refused) -> SuccessPayload:
    return SuccessPayload(errors=told(refusal), success=False)


def _no_token(refusal: Refused) -> AuthTokenPayload:
    return AuthTokenPayload(errors=told(refusal))


@strawberry.type
class LoginMutations:
    """The way to a session token."""

    @strawberry.mutation
    def captcha_create_challenge(self, info: Info) -> CaptchaCreateChallengePayload:
        """Give out a captcha."""
        challenge = info.context.logins.challenge()
        result = CaptchaCreateChallengeResult(
            id="sandbox", challenge_code=challenge, new_captcha=True, failback_mode=False
        )
        return CaptchaCreateChallengePayload(errors=[], result=result)

    @strawberry.mutation
    @telling(_not_done)
    async def captcha_request_auth_code(self, info: Info, input: CaptchaRequestAuthCodeInput) -> SuccessPayload:
        """Send a code to a phone."""
        info.context.logins.request_code(input.phone, input.challenge_code, input.validation_code, input.sec_code)
        return SuccessPayload(errors=[], success=True)

    @strawberry.mutation
    @telling(_no_token)
    async def user_login(self, info: Info, input: UserLoginInput) -> AuthTokenPayload:
        """Give a session token for a code."""
        session = info.context.logins.log_in(input.phone, input.code)
        return AuthTokenPayload(errors=[], auth_token=AuthToken(session.token), totp_required=session.totp_required)
