"""What holds for all tests."""

from hypothesis import settings

# A slow machine is no failure: no test asserts a time, and hypothesis does not either.
settings.register_profile("closedloop", deadline=None)
settings.load_profile("closedloop")
