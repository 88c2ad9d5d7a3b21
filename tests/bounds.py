"""How long tests wait for what has to happen."""

from typing import Final

HANG_SECONDS: Final = 300.0
"""A bound that only a hang meets, however busy the machine is."""
