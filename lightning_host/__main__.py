"""`python -m lightning_host`."""

from __future__ import annotations

import sys

from lightning_host.cli import main

sys.exit(main())
