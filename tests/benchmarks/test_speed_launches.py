"""Counts of a compiled program. For those of updates see tests/backends/test_launches.py."""

import pytest
from support.helpers import run_command

pytest.importorskip("pandas", reason="the extra `benchmarks` is not installed")

from benchmarks.speed import h100

FUSED = """
%fused (p.0: f32[4,2], p.1: f32[]) -> (f32[4,2], bf16[8]) {
  %p.0 = f32[4,2]{1,0} parameter(0)
  %p.1 = f32[] parameter(1)
  %copy.9 = f32[4,2]{1,0} copy(%p.0)
  ROOT %tuple.9 = (f32[4,2]{1,0}, bf16[8]{0}) tuple(%copy.9, %copy.9)
}
"""
ENTRY = """
ENTRY %main (w: f32[4,2], count: s32[]) -> (f32[4,2], s32[]) {
  %w = f32[4,2]{1,0} parameter(0), metadata={op_name="w"}
  %count = s32[] parameter(1)
  %copy.1 = s32[] copy(%count)
  %fusion.1 = (f32[4,2]{1,0}, /*index=1*/bf16[8]{0}) fusion(%w, %copy.1), kind=kLoop, calls=%fused
  %new = f32[4,2]{1,0} get-tuple-element(%fusion.1), index=0
"""
LOOP = """
%body (state: (s32[], f32[4,2])) -> (s32[], f32[4,2]) {
  %state = (s32[], f32[4,2]{1,0}) parameter(0)
  %x = f32[4,2]{1,0} get-tuple-element(%state), index=1
  %negated = f32[4,2]{1,0} negate(%x)
  %i = s32[] get-tuple-element(%state), index=0
  ROOT %tuple.2 = (s32[], f32[4,2]{1,0}) tuple(%i, %negated)
}

%condition (state.1: (s32[], f32[4,2])) -> pred[] {
  %state.1 = (s32[], f32[4,2]{1,0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%state.1), index=0
  ROOT %holds = pred[] convert(%i.1)
}
"""
END = "  ROOT %end = (f32[4,2]{1,0}, s32[]) tuple(%new, %copy.1)\n}\n"
# The copy of the counter, and a fusion that copies an array: 32 bytes, or 16 in bfloat16.
STRAIGHT = {"kernels": 2, "copies": 1, "bytes": (4 + 4) + (32 + 4 + 32 + 16)}


def test_kernels_of_a_program():
    assert h100.paths(h100.program(FUSED + ENTRY + END)) == [STRAIGHT]


def test_a_loop_is_skipped_or_runs_once():
    loop = "  %state.2 = (s32[], f32[4,2]{1,0}) tuple(%copy.1, %new)\n"
    loop += (
        "  %while.1 = (s32[], f32[4,2]{1,0}) while(%state.2), condition=%condition, body=%body\n"
    )
    once = {"kernels": 4, "copies": 1, "bytes": STRAIGHT["bytes"] + (32 + 32) + (4 + 1)}
    assert h100.paths(h100.program(FUSED + LOOP + ENTRY + loop + END)) == [STRAIGHT, once]


@pytest.mark.parametrize(
    ("flags", "message"),
    [([], "--compiler must be given"), (["--compiler=x", "--updates=("], "--updates must be a")],
)
def test_flags_are_checked(flags, message):
    done = run_command("benchmarks.speed.launches", *flags)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message}")
