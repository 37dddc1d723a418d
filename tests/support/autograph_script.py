"""Traces an update, and prints AutoGraph's warnings, which appear only once in a process."""

import logging
import sys

import keras
import tensorflow as tf

import keras_lars

tf.get_logger().addHandler(logging.StreamHandler(sys.stdout))
w = keras.Variable([3.0, 4.0])
optimizer = keras_lars.LARS()
tf.function(lambda g: optimizer.apply([g], [w]))(tf.ones(2))
tf.get_logger().warning("heard")
