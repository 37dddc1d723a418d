"""One table of trainings at given settings: networks and batch sizes down, settings across.

python -m benchmarks.studies.batch_size.settings_table --results=FILE,FILE

prints it for one question, which may have been asked of several networks in several files.
"""

import statistics

from absl import app, flags

from benchmarks.command_line import UsageError, fail, parse, read_json, results_of
from benchmarks.environment import in_words
from benchmarks.studies.batch_size.results import accuracy_of, arms_of, failed, select


def table(*found: dict) -> str:
    """Test accuracy in %, mean (and standard deviation) of the seeds, as Markdown.

    The last row is what each setting loses at most to the best one of a row. A training that
    diverged counts as a guess.
    """
    arms = arms_of(found[0])
    lines = [
        "| network | batch | " + " | ".join(arm.words for arm in arms) + " |",
        "|---|---:|" + "---:|" * len(arms),
    ]
    losses = []
    for results in found:
        for network in results["networks"]:
            for batch in results["batches"]:
                rows_of = [
                    select(results, network=network, batch=batch, arm=arm.name) for arm in arms
                ]
                if not all(rows_of):
                    continue
                means = [statistics.mean(map(accuracy_of, rows)) for rows in rows_of]
                losses.append([max(means) - mean for mean in means])
                cells = [_cell(rows) for rows in rows_of]
                name = f"`{network}`" + (", digits" if results.get("data") == "digits" else "")
                lines.append(f"| {name} | {batch:,} | " + " | ".join(cells) + " |")
    worst = [f"{100 * max(column):.1f}" for column in zip(*losses)]
    lines.append("| most lost to the best of a row | | " + " | ".join(worst) + " |")
    return "\n".join(lines)


def _cell(rows: list[dict]) -> str:
    values = [100 * accuracy_of(row) for row in rows]
    spread = f" ({statistics.stdev(values):.1f})" if len(values) > 1 else ""
    count = sum(map(failed, rows))
    diverged = f", {count} of {len(rows)} diverged" if count else ""
    return f"{statistics.mean(values):.1f}{spread}{diverged}"


def main(argv: list[str]) -> None:
    del argv
    try:
        found = [read_json(path, "--results") for path in flags.FLAGS.results]
        with results_of(", ".join(flags.FLAGS.results), "--results"):
            lines = [table(*found)]
            environments = [each for results in found for each in results["environments"]]
            lines += dict.fromkeys(in_words(e["versions"], e["device"]) for e in environments)
    except UsageError as error:
        fail(error)
    print("\n\n".join(lines))


if __name__ == "__main__":
    flags.DEFINE_list("results", None, "Files of results.", required=True)
    app.run(main, flags_parser=parse)
