"""Questions that need many training runs: `python -m benchmarks.experiments.NAME`.

The experiments of the paper train its rows at full size with `--data=imagenet2012`, and scaled down
on other data sets. `batch_size`, `first_try`, `fine_tuning`, `linear_probe`, `learning_rate_choice`
and `noise_scale` train small networks on small images. Running a command again continues with the
training runs that are not done. A training run that diverges is a result, not an error.
"""
