"""Prints LARS's error under a `ParameterServerStrategy`; `helpers.run_command` runs it."""

import os

import keras
import tensorflow as tf

import keras_lars
from benchmarks.local_cluster import free_addresses

worker, server = free_addresses(2)
spec = tf.train.ClusterSpec({"worker": [worker], "ps": [server]})
servers = [tf.distribute.Server(spec, name, 0, protocol="grpc") for name in ("worker", "ps")]
resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(spec, rpc_layer="grpc")
with tf.distribute.ParameterServerStrategy(resolver).scope():
    try:
        keras_lars.LARS().build([keras.Variable([1.0])])
    except ValueError as error:
        print(error, flush=True)
os._exit(0)  # such a server never ends
