"""`python -m keras_lars.report RUN`: draws what the monitors recorded."""

import argparse
import sys

from keras_lars import report


def main(arguments: list[str] | None = None) -> None:
    """Prints the path of the page, or one line that says why there is none."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_lars.report",
        description="Draws what the TrustRatioMonitor and NoiseScaleMonitor of "
        "keras_lars.callbacks recorded, as one page (index.html) and its plots (PNG).",
    )
    parser.add_argument(
        "run", metavar="RUN", help="folder of the monitors, or a .csv or .jsonl in it"
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
