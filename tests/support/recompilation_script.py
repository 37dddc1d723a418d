"""Counts the modules that XLA has dumped into a folder, after each of several steps.

`XLA_FLAGS=--xla_dump_to=FOLDER python recompilation_script.py FOLDER` prints the counts.
"""

import glob
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_lars

dump = sys.argv[1]
x, y = np.random.default_rng(0).normal(size=(20, 3)).astype("float32"), np.ones((20, 2), "float32")


def modules():
    return len(glob.glob(dump + "/*before_optimizations.txt"))


model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(2)])
model.compile(keras_lars.LARS(keras.optimizers.schedules.CosineDecay(1.0, 5)), "mse")
model.fit(x[:4], y[:4], batch_size=4, verbose=0)
counts = [modules()]
model.fit(x, y, batch_size=4, verbose=0)
counts.append(modules())

optimizer = keras_lars.LARS()
variables = [keras.Variable(np.ones((3, 5)), name=n) for n in "ab"]
for rate in (1.0, 0.5, 0.25, 0.125, 0.0625):
    optimizer.learning_rate = rate
    optimizer.apply([tf.ones((3, 5)), tf.ones((3, 5))], variables)
    counts.append(modules())
print("counts", *counts)
