"""What the tests share: variables, models, references, and scripts for processes of their own."""

import pathlib

TESTS = pathlib.Path(__file__).parents[1]
ROOT = TESTS.parent
