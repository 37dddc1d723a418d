"""Runs one call of `apply` on the replicas of a `tf.distribute` strategy, and across them."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_lars._types import Tensor


class Replicas:
    """The replicas of a strategy during one call of `apply`. A single device is one replica.

    It is used in cross-replica context, or, if the strategy needs no merge call, in each replica.
    """

    def __init__(self, strategy: tf.distribute.Strategy, anchor: tf.Variable):
        self._strategy = strategy
        self._anchor = anchor
        self._in_replica = tf.distribute.get_replica_context() is not None
        self.count = strategy.num_replicas_in_sync

    def run(self, function: Callable[..., Any], *arguments: Tensor) -> None:
        """Run `function` on each replica, with this replica's components of the arguments."""
        self._strategy.extended.update(
            self._anchor,
            lambda _, *components: function(*components),
            args=arguments,
            group=False,
        )

    def values(self, function: Callable[..., Any], *arguments: Tensor) -> Any:
        """What `function` returns on each replica."""
        if self._in_replica:
            return function(*arguments)
        return self._strategy.extended.call_for_each_replica(function, args=arguments)

    def summed(self, gradients: list[Tensor], variables: list[tf.Variable]) -> list[Tensor]:
        """The gradients summed over replicas, on the devices of the variables."""
        if self._in_replica:
            if self.count == 1:
                # `all_reduce` would keep the whole graph until the process ends: each call
                # registers a gradient function, which TensorFlow never deletes.
                return gradients
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if not all(isinstance(g, tf.distribute.DistributedValues) for g in gradients):
            # A gradient that is the same tensor on all replicas comes as a plain tensor.
            gradients = self.values(lambda shares: [tf.identity(g) for g in shares], gradients)
        return self._strategy.extended.batch_reduce_to(
            tf.distribute.ReduceOp.SUM, list(zip(gradients, variables))
        )

    def first(self, value: object) -> tf.Tensor:
        """A value that is the same on every replica, as one tensor."""
        if self._in_replica:
            return value
        return self._strategy.experimental_local_results(value)[0]

    def one_of(
        self, condition: tf.Tensor, one: Callable[[], None], other: Callable[[], None]
    ) -> Callable[[], None]:
        """A function that calls `one` if the condition holds, and else `other`."""

        def call() -> None:
            tf.cond(condition, self._branch(one), self._branch(other))

        return call

    def _branch(self, function: Callable[[], None]) -> Callable[[], None]:
        """The function as a branch of `tf.cond`, a new graph that must enter the scope again."""
        if self._in_replica or not tf.distribute.has_strategy():
            return function

        def in_scope() -> None:
            with self._strategy.scope():
                function()

        return in_scope
