"""`python -m flash_driver.cli` is `flash-driver`."""

import sys

from flash_driver.cli import main

sys.exit(main())
