"""How much memory a training takes, and how long, before it starts."""

import math
import time

import keras
import tensorflow as tf

from benchmarks.plan import Plan

# A step goes through the network once forwards and, at twice the cost, once backwards.
PASSES = 3
# Of a forward pass that is timed: enough for a rate, and no long wait on a laptop.
TIMED_IMAGES = 64


def memory_bytes(plan: Plan, model: keras.Model, replicas: int) -> int:
    """About what one replica holds: weights with their gradients and slots, and activations.

    What each layer returns is kept for the way back. Frameworks keep more and less than that, and
    the data set comes on top.
    """
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    copies = 2 + (plan.recipe.momentum > 0) + (plan.micro_batches > 1)
    outputs = sum(
        math.prod(output.shape[1:])
        for layer in model.layers
        for output in keras.tree.flatten(layer.output)
    )
    bytes_each = 4 if plan.recipe.precision == "float32" else 2
    images = math.ceil(plan.micro_batch_size / replicas)
    return 4 * copies * trainable + bytes_each * images * outputs


def training_seconds(plan: Plan, model: keras.Model, replicas: int) -> float:
    """About how long the training takes if it never waits for data, by a forward pass timed here.

    Replicas that share the same cores are slower.
    """
    images = min(TIMED_IMAGES, plan.micro_batch_size)
    batch = tf.zeros((images, *model.input_shape[1:]))
    forwards = tf.function(lambda batch: model(batch, training=False)).get_concrete_function(batch)
    forwards(batch).numpy()  # once for what is only done once
    started = time.perf_counter()
    forwards(batch).numpy()
    seconds = (time.perf_counter() - started) / images
    trained = plan.updates * plan.recipe.global_batch_size
    validated = len(plan.validated_epochs) * (
        plan.data_set.validation_images + plan.execution.evaluate_training_images
    )
    return seconds * (PASSES * trained + validated) / replicas
