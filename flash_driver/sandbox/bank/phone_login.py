"""Logging in with a phone: a captcha, a code by SMS or WhatsApp, and perhaps a TOTP code.

The steps are Flash's; the values are the sandbox's own. A captcha is solved by any answer to a challenge that the
sandbox gave out, and the code is the one in the options: nothing is sent to any phone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flash_driver.sandbox.bank.refusals import InvalidInput, Refused

if TYPE_CHECKING:
    from flash_driver.sandbox.bank.credentials import Credentials
    from flash_driver.sandbox.options import SandboxOptions

__all__ = ["NewSession", "PhoneLogin"]


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that a login gave.

    Attributes:
        token: The session token.
        totp_required: Whether it does not work before a TOTP code was given for it.

    """

    token: str = field(repr=False)
    totp_required: bool


class PhoneLogin:
    """The logins of one sandbox; one phone has an account."""

    def __init__(self, options: SandboxOptions, credentials: Credentials) -> None:
        self._options = options
        self._credentials = credentials
        self._challenges: set[str] = set()
        self._code_sent = False

    def challenge(self) -> str:
        """Give out a captcha to be solved in a browser."""
        challenge = secrets.token_hex(16)
        self._challenges.add(challenge)
        return challenge

    def request_code(self, phone: str, challenge: str, *answers: str) -> None:
        """Send a code to a phone, for a captcha that was solved; each challenge counts once.

        Raises:
            InvalidInput: The captcha was not solved.

        """
        if challenge not in self._challenges or not all(answers):
            raise InvalidInput("Captcha validation failed.")
        self._challenges.discard(challenge)
        self._code_sent = phone == self._options.phone

    def log_in(self, phone: str, code: str) -> NewSession:
        """Open a session for the code that was sent; each code counts once.

        Raises:
            Refused: It is another code, or none was sent.

        """
        if not self._code_sent or phone != self._options.phone or code != self._options.phone_code:
            raise Refused("Invalid or incorrect code entered.", "PHONE_CODE_ERROR")
        self._code_sent = False
        totp_required = self._options.totp_code is not None
        return NewSession(self._credentials.log_in(finished=not totp_required), totp_required)

    def finish(self, token: str, totp_code: str) -> bool:
        """Let a session that waits for a TOTP code begin, if it is the right one."""
        return totp_code == self._options.totp_code and self._credentials.finish(token)
