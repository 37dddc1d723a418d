"""What one call of `apply` does on each replica of a `tf.distribute` strategy, and across them."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


class Replicas:
    """What one call of `apply` does on the replicas of a strategy; one device is one replica.

    Called across replicas, or, by a strategy that needs no merge call, in each of them.
    """

    def __init__(self, strategy: tf.distribute.Strategy, anchor: tf.Variable):
        self._strategy = strategy
        self._anchor = anchor
        self._in_replica = tf.distribute.get_replica_context() is not None
        self.count = strategy.num_replicas_in_sync

    def run(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Run `function` on each replica, with this replica's components of the arguments."""
        self._strategy.extended.update(
            self._anchor,
            lambda _, *components: function(*components),
            args=arguments,
            group=False,
        )

    def values(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function` returns on each replica."""
        if self._in_replica:
            return function(*arguments)
        return self._strategy.extended.call_for_each_replica(function, args=arguments)

    def summed(self, gradients: list[Any], variables: list[tf.Variable]) -> list[Any]:
        """The sum over replicas, where the variables are."""
        if self._in_replica:
            if self.count == 1:
                # `all_reduce` would keep the whole graph until the process ends: it registers a
                # gradient function each time, and TensorFlow never forgets one.
                return gradients
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if not all(isinstance(g, tf.distribute.DistributedValues) for g in gradients):
            # A tensor that is the gradient of all replicas comes as itself.
            gradients = self.values(lambda shares: [tf.identity(g) for g in shares], gradients)
        return self._strategy.extended.batch_reduce_to(
            tf.distribute.ReduceOp.SUM, list(zip(gradients, variables))
        )

    def first(self, value: Any) -> tf.Tensor:
        """A value that is the same on every replica, as one tensor."""
        if self._in_replica:
            return value
        return self._strategy.experimental_local_results(value)[0]

    def one_of(
        self, condition: tf.Tensor, one: Callable[[], None], other: Callable[[], None]
    ) -> Callable[[], None]:
        """A function that calls one of two."""

        def call() -> None:
            tf.cond(condition, self._branch(one), self._branch(other))

        return call

    def _branch(self, function: Callable[[], None]) -> Callable[[], None]:
        """The function, as a branch of `tf.cond`: a new graph, which knows of no strategy."""
        if self._in_replica or not tf.distribute.has_strategy():
            return function

        def in_scope() -> None:
            with self._strategy.scope():
                function()

        return in_scope
