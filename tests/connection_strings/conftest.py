from __future__ import annotations

from hypothesis import settings

# A busy machine is not a wrong answer: pytest's own time limit is the one that counts.
settings.register_profile("connection_strings", deadline=None)
settings.load_profile("connection_strings")
