"""A schedule for a whole `fit`, a warm-up for any schedule, and the rate for a batch size.

Decays are Keras schedules: `keras.optimizers.schedules.PolynomialDecay(..., power=2)` is the
paper's, and `CosineDecay` is a common alternative.
"""

from keras_lars.schedules._fit import FitSchedule, for_fit
from keras_lars.schedules._scaling import linear_scaling, sqrt_scaling
from keras_lars.schedules._warm_up import WarmUp

__all__ = ["FitSchedule", "WarmUp", "for_fit", "linear_scaling", "sqrt_scaling"]
