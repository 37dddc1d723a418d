"""Trainings leave nothing in memory that grows from one trial of a search to the next."""

import gc
import weakref

import keras
import numpy as np
import pytest
from tensorflow.python.eager import context
from tensorflow.python.framework.func_graph import FuncGraph

import keras_lars


def trained(optimizer):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)])
    model.compile(optimizer, "mse", metrics=["mae"])
    model.fit(np.ones((8, 3)), np.ones((8, 2)), batch_size=4, verbose=0)


def graphs():
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, FuncGraph)]


def left_by_trials(make_optimizer):
    """The numbers of graphs and of functions that later trials add to those of the first."""
    trained(make_optimizer(1e-4))
    graphs_before = weakref.WeakSet(graphs())
    functions_before = set(context.context().list_function_names())
    for weight_decay in (2e-4, 3e-4):
        trained(make_optimizer(weight_decay))
    new_graphs = [graph for graph in graphs() if graph not in graphs_before]
    new_functions = set(context.context().list_function_names()) - functions_before
    return len(new_graphs), len(new_functions)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"jit_compile": False},
        {"gradient_accumulation_steps": 2},
        {"use_ema": True, "record_trust_ratios": True, "global_clipnorm": 1.0},
    ],
    ids=str,
)
def test_a_search_leaves_nothing(arguments):
    def lars(weight_decay):
        return keras_lars.LARS(0.1, weight_decay=weight_decay, **arguments)

    assert left_by_trials(lars) == (0, 0)


@pytest.mark.slow
def test_leftovers_would_be_seen():
    """Keras's SGD sums gradients even on one replica, and leaves the graph of each training."""
    new_graphs, new_functions = left_by_trials(
        lambda decay: keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=decay)
    )
    assert new_graphs > 0
    assert new_functions > 0
