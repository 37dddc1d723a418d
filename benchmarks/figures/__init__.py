"""The tables and figures of the paper, a command each: `python -m benchmarks.figures.NAME`.

`--data=imagenet2012` trains the paper's own rows, other data sets the same rows in small. Each
command leaves `results.json`, `results.csv` and `figure.png`, and the runs themselves in `runs/`.
Given again, it goes on where it was interrupted; `--show=results.json` draws without training.
"""
