"""Estimates of the memory and the time of a training run, before it starts."""

import math
import timeit

import keras
import tensorflow as tf

from benchmarks.plan import Plan

# The cost of a step in forward passes: one forward, and one backward at twice the cost.
PASSES = 3
# Images in the timed forward pass: enough for an estimate, and quick on a laptop.
TIMED_IMAGES = 64


def trainable_parameters(model: keras.Model) -> int:
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def memory_bytes(plan: Plan, model: keras.Model, replicas: int) -> int:
    """Approximate memory of one replica: weights, gradients, slots and activations.

    Counts the output of each layer, which the backward pass needs. Frameworks keep more or less
    than that. The data set is not counted.
    """
    copies = 2 + (plan.recipe.momentum > 0) + (plan.micro_batches > 1)
    outputs = sum(
        math.prod(output.shape[1:])
        for layer in model.layers
        for output in keras.tree.flatten(layer.output)
    )
    bytes_each = 4 if plan.recipe.precision == "float32" else 2
    images = math.ceil(plan.micro_batch_size / replicas)
    return 4 * copies * trainable_parameters(model) + bytes_each * images * outputs


def training_seconds(plan: Plan, model: keras.Model, replicas: int) -> float:
    """Approximate time of the training if it never waits for data, from a timed forward pass.

    Replicas that share cores are slower.
    """
    images = min(TIMED_IMAGES, plan.micro_batch_size)
    batch = tf.zeros((images, *model.input_shape[1:]))
    forwards = tf.function(lambda batch: model(batch, training=False)).get_concrete_function(batch)
    forwards(batch).numpy()  # not timed: the first call is slower
    seconds = timeit.timeit(lambda: forwards(batch).numpy(), number=1) / images
    trained = plan.updates * plan.recipe.global_batch_size
    validated = len(plan.validated_epochs) * (
        plan.data_set.validation_images + plan.execution.evaluate_training_images
    )
    return seconds * (PASSES * trained + validated) / replicas
