"""`python -m keras_lars.report RUN`: draws what `TrustRatioMonitor` recorded."""

import argparse
import sys

from keras_lars import report


def main(arguments: list[str] | None = None) -> None:
    """Prints the path of the page, or one line that says why there is none."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_lars.report",
        description="Draws what keras_lars.callbacks.TrustRatioMonitor recorded, as one page "
        "(index.html) and its three pictures (PNG).",
    )
    parser.add_argument(
        "run", metavar="RUN", help="folder of the monitor, or its trust_ratios.csv or .jsonl"
    )
    parser.add_argument(
        "--output", metavar="FOLDER", help="folder for the report (default: RUN/report)"
    )
    chosen = parser.parse_args(arguments)
    try:
        print(report.draw(chosen.run, chosen.output))
    except (ValueError, ImportError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
