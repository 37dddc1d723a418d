"""Right and wrong uses, one per line, for the type checker in test_types.py. Never run."""

import pathlib

import keras
import numpy as np

import keras_lars
from keras_lars import LARS, LossScaleOptimizer
from keras_lars.callbacks import AverageStatistics, BackupAndRestore, TrustRatioMonitor
from keras_lars.schedules import WarmUp, linear_scaling, sqrt_scaling

variable = keras.Variable([1.0])
decay = keras.optimizers.schedules.CosineDecay(4.0, 100)
patterns = ["bias", "gamma"]

# Learning rates.
LARS(4.0)
LARS(4)
LARS(decay)
LARS(WarmUp(4.0, 10))
LARS(lambda: 0.1)
LARS(np.float32(4.0))
LARS("4.0")  # wrong
LARS(None)  # wrong
LARS([4.0])  # wrong
LARS(lambda step: 0.1 * step)  # wrong

# Other arguments.
LARS(4.0, 0.9, 0, 1e-3, nesterov=True, epsilon=1e-8, trust_clip=True, name="lars_of_heads")
LARS(momentum_form="ratio_of_update", decay_in_norm=True, zero_weight_ratio=None)
LARS(jit_compile=True)
LARS(jit_compile="auto")
LARS(momentum_form="clasic")  # wrong
LARS(momentum="0.9")  # wrong
LARS(weight_decay="0")  # wrong
LARS(weight_decay=None)  # wrong
LARS(jit_compile="yes")  # wrong
LARS(nesterov="yes")  # wrong
LARS(zero_weight_ratio="1e-3")  # wrong
LARS(weight_norm_floor=None)  # wrong
LARS(4.0, 0.9, 0, 1e-3, True)  # wrong

# Arguments of every Keras optimizer.
LARS(clipnorm=1.0, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=None)
LARS(gradient_accumulation_steps=2, loss_scale_factor=128, clipvalue=None)
LARS(gradient_accumulation_steps={0: 1, 500: 4})
LARS(gradient_accumulation_steps={"0": 1})  # wrong
LARS(clipnorm="1")  # wrong
LARS(use_ema=0.99)  # wrong
LARS(ema_overwrite_frequency=2.5)  # wrong
LARS(gradient_accumulation_steps="2")  # wrong
LARS(momentun=0.9)  # wrong
LARS(decay=0.1)  # wrong
LARS(lr=0.1)  # wrong

# Exclusions.
LARS(exclude_from_layer_adaptation="bias")
LARS(exclude_from_layer_adaptation=["bias", variable, keras_lars.rank_at_most(1)])
LARS(exclude_from_layer_adaptation=lambda each: len(each.shape) < 2)
LARS(exclude_from_weight_decay=[])
LARS(exclude_from_weight_decay=patterns)
LARS(exclude_from_weight_decay=(keras_lars.optional("bias"), keras_lars.bias_or_normalization()))
LARS(exclude_from_layer_adaptation=1)  # wrong
LARS(exclude_from_layer_adaptation=["bias", 1])  # wrong
LARS(exclude_from_weight_decay=True)  # wrong
LARS(exclude_from_weight_decay=lambda: True)  # wrong
LARS(exclude_from_weight_decay=keras_lars.rank_at_most)  # wrong
keras_lars.rank_at_most("1")  # wrong
keras_lars.optional(1)  # wrong
keras_lars.bias_or_normalization("bias")  # wrong

# Attributes and methods of an optimizer.
optimizer = LARS(record_trust_ratios=True)
optimizer.learning_rate = 2
optimizer.learning_rate = decay
optimizer.build([variable])
optimizer.exclude_from_weight_decay(var_names=patterns)
shapes: list[tuple[int, ...]] = [row.shape for row in optimizer.variable_table()]
norms: dict[str | int, float] = {k: r.weight_norm for k, r in optimizer.trust_ratios.items()}
momentum: float = optimizer.get_config()["momentum"]
optimizer.learning_rate = "2"  # wrong
optimizer.learning_rate = None  # wrong
optimizer.build(1)  # wrong
optimizer.exclude_from_weight_decay(var_names=[1])  # wrong
optimizer.exclude_from_layer_adaptation(var_list=1)  # wrong
ratios: dict[str, float] = optimizer.trust_ratios  # wrong
print(optimizer.trust_ratios["kernel"].ratio)  # wrong
print([row.name for row in optimizer.variable_table()])  # wrong
print(optimizer.get_config()[0])  # wrong

# Loss scaling.
LossScaleOptimizer(LARS(), initial_scale=8, dynamic_growth_steps=100, name="scaled")
LossScaleOptimizer(LARS(), initial_scale="8")  # wrong
LossScaleOptimizer(LARS(), dynamic_growth_steps=0.5)  # wrong
LossScaleOptimizer(LARS(), growth_steps=100)  # wrong
LossScaleOptimizer()  # wrong

# Schedules.
WarmUp(decay, 10, start_learning_rate=0.1, power=2, shift_decay=False)(3)
WarmUp(WarmUp(4, 10), np.int64(10).item())
rate: float = sqrt_scaling(linear_scaling(0.1, 1024), 4096, base_batch_size=64)
WarmUp("4.0", 10)  # wrong
WarmUp(lambda: 4.0, 10)  # wrong
WarmUp(decay, 10.5)  # wrong
WarmUp(decay, 10, shift_decay="no")  # wrong
WarmUp(decay, 10, warmup=5)  # wrong
WarmUp(decay, 10)("3")  # wrong
linear_scaling("0.1", 1024)  # wrong
sqrt_scaling(4.0, 1024.5)  # wrong
name: str = sqrt_scaling(4.0, 1024)  # wrong

# Callbacks.
TrustRatioMonitor("run", 10, "csv")
TrustRatioMonitor(pathlib.Path("run"), "epoch", ["csv", "tensorboard"], verbose=False)
BackupAndRestore(pathlib.Path("run"), save_freq=100, delete_checkpoint=False)
BackupAndRestore("run", delete_checkpoint="next_fit", max_failed_saves=2)
AverageStatistics()
TrustRatioMonitor(1)  # wrong
TrustRatioMonitor("run", "batch")  # wrong
TrustRatioMonitor("run", formats="xml")  # wrong
TrustRatioMonitor("run", formats=["csv", "xml"])  # wrong
TrustRatioMonitor("run", verbose="yes")  # wrong
BackupAndRestore(None)  # wrong
BackupAndRestore("run", save_freq="batch")  # wrong
BackupAndRestore("run", delete_checkpoint="false")  # wrong
BackupAndRestore("run", every=3)  # wrong
BackupAndRestore("run").epochs(lambda: variable)  # wrong
AverageStatistics("run")  # wrong

# The rest.
page: pathlib.Path = keras_lars.report.draw("run", output=None)
model = keras_lars.multi_worker.prepare(keras.Sequential())
keras_lars.report.draw(1)  # wrong
keras_lars.report.draw("run", dpi=100)  # wrong
keras_lars.multi_worker.prepare()  # wrong
print(keras_lars.reports)  # wrong
