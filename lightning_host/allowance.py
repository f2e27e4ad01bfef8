"""How often something may be done, as a setting."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = ["Allowance", "AllowanceOrOff"]


class Allowance(BaseModel):
    """How often something may be done: a number of times in a number of seconds. Text form `10/120`."""

    model_config = ConfigDict(frozen=True)

    times: int = Field(ge=1)
    seconds: int = Field(ge=1)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, dict | Allowance):
            return value
        match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", str(value).strip())
        if match is None:
            raise ValueError("must be times per seconds, such as 10/120")
        return {"times": int(match[1]), "seconds": int(match[2])}


def _unless_off(value: object) -> object:
    return None if value == "off" else value


AllowanceOrOff = Annotated[Allowance | None, BeforeValidator(_unless_off)]
"""The same, or none at all: text form `off`."""
