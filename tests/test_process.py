"""The process setting is taken on Linux and declined elsewhere."""

import subprocess
import sys

import pytest

from dealseg.process import keep_freed_memory

PROBE = """
import resource, sys, torch
from dealseg.process import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    for _ in range(8):
        torch.ones(12_000_000)  # 48 MB: above what malloc ever keeps by itself
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    command = [sys.executable, "-c", PROBE, mode]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator only")
def test_kept_memory_is_not_mapped_again_at_each_step():
    assert faults("keep") < faults("default") / 4


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
