"""Tests that compare real deadlines with a real clock."""

from __future__ import annotations

import pytest

#: Runs a test again, up to four times: a machine that stands still for some tenths of a second breaks what it compares.
#: What is broken in the code fails every time.
real_time = pytest.mark.flaky(reruns=4, reruns_delay=1)
