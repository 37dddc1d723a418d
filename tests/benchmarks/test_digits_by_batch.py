"""The page agrees with the results of ResNet-50 on the digits by batch size."""

from support import RESULTS, pages

from benchmarks.experiments import results
from benchmarks.experiments.batch_size import SIZES, BatchSize
from benchmarks.experiments.small import tables

SIZE = SIZES["digits"]
FOUND = results.read(RESULTS / "studies" / "digits_by_batch.json", "--show", "batch_size")
PAGE = pages.study("digits_by_batch")
SEEDS = (
    100
    * results.select(tables.frame(FOUND), kind="seed")
    .set_index(["method", "batch"])["test_accuracy"]
    .astype(float)
    .sort_index()
)
MEANS = SEEDS.groupby(["method", "batch"]).mean()


def ahead(batch, method, other):
    return MEANS[method, batch] - MEANS[other, batch]


def test_the_results_are_complete():
    assert len(FOUND["rows"]) == len(BatchSize(size="digits").runs({})) == 84


def test_the_page_agrees_with_the_results():
    best = {
        batch: max(SIZE.methods, key=lambda method: MEANS[method, batch]) for batch in SIZE.batches
    }
    assert best == {64: "lars_wide", 256: "lars_nesterov", 512: "lars_wide"}
    low, high = ahead(64, "lars_wide", "momentum_wide"), ahead(512, "lars_wide", "momentum_wide")
    behind = ahead(256, "momentum_wide", "lars_wide")
    assert f"by {low:.1f} points at 64 and by {high:.1f} at 512" in PAGE
    assert f"momentum is ahead of it by {behind:.1f}" in PAGE
    costs = [ahead(batch, "lars_wide", "lars_nesterov") for batch in (64, 512)]
    assert f"costs {costs[0]:.1f} points at 64 and {costs[1]:.1f} at 512" in PAGE
    assert f"ended at {SEEDS['nesterov_wide', 64].min():.1f} %" in PAGE
