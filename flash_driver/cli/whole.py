"""The program with every command loaded: what its documentation is made of."""

from typing import Final

from flash_driver.cli.app import make_app

__all__ = ["app"]

app: Final = make_app()
