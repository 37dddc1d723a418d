"""Questions answered by many trainings, a command each: `python -m benchmarks.experiments.NAME`.

Those of the paper train its rows as they are with `--data=imagenet2012`, and scaled down on other
data sets; `batch_size`, `first_try`, `fine_tuning`, `linear_probe`, `learning_rate_choice` and
`noise_scale` train small networks on small images. A command given again trains what is not done
yet, and takes divergence as a result.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.experiments.experiment import Experiment


def find(name: str) -> type["Experiment"]:
    """The experiment of a module here, whose class has the same name."""
    module = importlib.import_module(f"benchmarks.experiments.{name}")
    return getattr(module, name.title().replace("_", ""))
