"""Tests of the formats, which also run alone, without the other tests' configuration."""

from hypothesis import HealthCheck, settings

PROFILE = "responsa"
# Generated examples have no time limit, because no test may fail when the machine is busy.
settings.register_profile(PROFILE, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(PROFILE)
