"""Repairs of faults in Keras 3, each for one optimizer or one model.

Only this package uses private interfaces of Keras. It changes no class or function of Keras.

`optimizer.py` uses, from `keras.optimizers.Optimizer`: `_iterations`, `_learning_rate`,
`_trainable_variables`, `_trainable_variables_indices`, `_var_key`, `_get_variable_index`,
`_check_variables_are_known`, `_filter_empty_gradients`,
`_overwrite_variables_directly_with_gradients`, `_clip_gradients`, `_get_current_learning_rate`,
`_apply_weight_decay`.

`saved_state.py` uses, from the same class: `_iterations`, `_learning_rate`, `_trainable_variables`,
`_variables`, `_accumulated_gradients`, `_model_variables_moving_average`; and from TensorFlow's
`Trackable` `_trackable_children`, `_lookup_dependency`, `_handle_deferred_dependencies`.

`hooks.py` names methods of `keras.optimizers.Optimizer` that LARS never calls.

`torch_variables.py` reads `_value` of `keras.Variable`: the public `value` checks each time whether
another tensor replaces it, which for 1,000 variables takes as long as updating them.

`layers.py` uses, from `keras.Model`: `_flatten_layers`.

`compiled.py` uses, from `keras.Model`: `_compile_loss` and `_compile_metrics`, with their `built`
and `metrics`.

`trainer.py` uses, from `keras.Model`: `_maybe_symbolic_build`, `_symbolic_build`,
`_initial_epoch`, `_distribute_strategy`; from the module of its TensorFlow
trainer `reduce_per_replica`, and `TFEpochIterator` with its `_num_batches`; and `_moments` of
`BatchNormalization`.
It relies on the public `make_train_function` and `make_test_function` to create `train_function`
and `test_function`.

`saving.py` uses `_loss_tracker` and `_compile_metrics` of `keras.Model`, and replaces `_value` of
some `keras.Variable`s while a file is written.

`tensorflow_context.py` uses, from TensorFlow, `python.eager.context.context`, with its
`op_callbacks`, and `python.framework.config.is_op_determinism_enabled`.

`iterators.py` uses `_get_iterator` of `TFEpochIterator`.

`heartbeat.py` uses, from TensorFlow's `tensorflow.python.eager.context`, the methods
`configure_coordination_service` and `abort_collective_ops`, which its own strategies call, and
`_handle`; and from its C library `TFE_EnableCollectiveOps` and `TFE_CollectiveOpsCheckPeerHealth`.
While a strategy is created, the former replaces its namesake in `tensorflow.python.pywrap_tfe`,
which holds Python's lock while it waits.

`fitted_model.py` reads from the stack for which model an optimizer is being built: Keras builds it
inside `fit`, `train_on_batch` or `train_step`, methods whose `self` is the model. From `fit` it
also reads the locals `callbacks`, `epochs`, `initial_epoch`, `x`, `shuffle`, `epoch_iterator`, with
its `num_batches`, and, of the JAX trainer, `training_finished`. In any function the locals `self`
and `model` may be the model whose optimizer is being built. One of them is `load_model_from_hdf5`,
which builds it without variables, and has it as `model`.

The faults are those of Keras 3.10.0 with TensorFlow 2.18.0, and of 3.15.1 with 2.21.0. A nightly
3.16 (3.16.0.dev2026102704) has all but 4 and 8. For each fault a test fails once it is fixed,
except for 18, which depends on chance. The tests are in `tests/backends/test_keras_faults.py`, or,
if they need several workers, files, JAX or torch, in `test_multi_worker.py`,
`test_empty_builds.py`, `jax_distribution_script.py`, `backend_update_checks.py` or
`backend_range_checks.py`:

1. Gradients are clipped before they are summed over replicas: each replica's share is clipped.
   https://github.com/tensorflow/tensorflow/issues/33929 (the same in an older Keras)
2. Gradient accumulation fails under `MirroredStrategy`.
   https://github.com/keras-team/keras/issues/20582
3. Under gradient accumulation, schedules count micro-batches, the moving average includes each of
   them, and constraints act between updates. (Documented for schedules; no issue known.)
4. `ema_overwrite_frequency` fails under `MirroredStrategy`, before 3.16. (No issue known.)
5. `loss_scale_factor` fails on `tf.IndexedSlices`, and float16 gradients are unscaled in float16.
   https://github.com/keras-team/keras/issues/18985 (the same for clipping, since repaired)
6. `weight_decay` moves the weights before the update, and is not scaled like the update.
   (By design; no issue.)
7. Saved state is matched by number of variables or by attribute name. So another optimizer's state
   loads silently, and a pickled or copied optimizer loses its state.
   https://github.com/tensorflow/tensorflow/issues/44670 (the same in an older Keras)
8. At the end of data of unknown size, `iterations` counts an update that is not made, before 3.16.
    (No issue known.)
9. `fit` and `evaluate` fail under `MultiWorkerMirroredStrategy`, because a batch of several tensors
   is reduced as if it were one.
   https://github.com/keras-team/keras/issues/20585
10. With that fixed they still fail, because logs, which are scalars, are reduced along their first
   axis.
   https://github.com/keras-team/keras/issues/20585
11. `LossScaleOptimizer` checks only one replica's gradients for non-finite values: see
    `keras_lars.LossScaleOptimizer`. (No issue known.)
12. `BatchNormalization` of an empty batch, as some replicas get at the end of an epoch, is NaN.
    (No issue known.)
13. Each worker ends its epoch after its own number of batches. With data from
    `distribute_datasets_from_function`, workers with more batches deadlock. (No issue known.)
14. `steps_per_execution` above 1 fails under `MultiWorkerMirroredStrategy`, and on CPUs under
    `MirroredStrategy`, because TensorFlow cannot number the exchanges of a function that is called
    in a loop of the graph. (No issue known.)
15. On the JAX backend a second `fit` with `use_ema` fails or ends the process, because weights and
    averages share their memory after the first. (No issue known.)
16. A model that is loaded from an `.h5` file has an optimizer that was built without variables: its
    next step fails, and its velocities are lost. (No issue known.)
17. The derivative of `global_clipnorm` is NaN if all gradients are 0. (No issue known.)
18. To delete an iterator of tf.data, as `fit` does after each epoch, may take half the iterator's
    age, up to a minute: the autotuning thread sleeps that long between checks, and often misses the
    signal to end. (A fault of TensorFlow; no issue known.)
19. On JAX and torch the first `fit` of a model draws one more batch than a second one, to build
   loss and metrics. So its data are shuffled in another order. (Seen on 3.15.1.)
   https://github.com/keras-team/keras/issues/20394
20. Under several workers, each writes the file that `save` or `save_weights` is given. If all are
   given the same path, the file is damaged at times.
   https://github.com/tensorflow/tensorflow/issues/38635 (the same in an older Keras)
21. With `use_ema`, variables and averages are paired by position at the end of `fit`. If a layer
   was frozen since the optimizer was built, TensorFlow overwrites variables with the averages of
   others, and the other backends raise an error. (No issue known.)
22. On the JAX backend, an optimizer that was built for one model also trains another of the same
   shapes, or other layers of the same model, with the velocities of the first. (No issue known.)
23. On the JAX backend, a `fit` that fails finalizes the variables, which may have no values then.
   With `use_ema`, another error replaces that of the training step. (No issue known.)
"""
