"""How much is tried: in the suite little and always the same, under the profile `fuzz` much and always something new.

pytest tests/fuzz --hypothesis-profile=fuzz
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

_ALWAYS: dict[str, Any] = {
    "deadline": None,
    "database": None,  # nothing is written beside the sources
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("suite", derandomize=True, max_examples=100, **_ALWAYS)
settings.register_profile("fuzz", derandomize=False, max_examples=10_000, print_blob=True, **_ALWAYS)

if settings.get_current_profile_name() != "fuzz":
    settings.load_profile("suite")
