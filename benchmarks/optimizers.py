"""The optimizer and the learning rate schedule of a recipe."""

from collections.abc import Callable
from typing import Any, cast

import keras
from keras.optimizers.schedules import CosineDecay, LearningRateSchedule, PolynomialDecay

import keras_lars
from benchmarks.plan import Plan
from benchmarks.recipe import Recipe, RecipeError

EXCLUSIONS: dict[str, Callable[[], Any]] = {
    "none": list,
    "bias_or_normalization": keras_lars.bias_or_normalization,
    "rank_1": lambda: keras_lars.rank_at_most(1),
}


def schedule(plan: Plan) -> LearningRateSchedule:
    """The learning rate schedule: a warm-up, then a decay."""
    recipe = plan.recipe
    updates = plan.updates - (plan.warmup_updates if recipe.shift_decay else 0)
    return keras_lars.schedules.WarmUp(
        _decay(recipe, updates),
        plan.warmup_updates,
        recipe.start_learning_rate,
        recipe.warmup_power,
        recipe.shift_decay,
    )


def _decay(recipe: Recipe, updates: int) -> float | LearningRateSchedule:
    if recipe.decay == "constant" or recipe.learning_rate == 0:
        return recipe.learning_rate
    if recipe.decay == "cosine":
        end = recipe.end_learning_rate / recipe.learning_rate
        return CosineDecay(recipe.learning_rate, updates, alpha=end)
    return PolynomialDecay(
        recipe.learning_rate, updates, recipe.end_learning_rate, power=recipe.decay_power
    )


def make(plan: Plan) -> keras.optimizers.Optimizer:
    """The optimizer of a plan.

    "sgd" is LARS without layer adaptation: momentum SGD with weight decay added to the gradient, as
    in Caffe and in the paper. The two optimizers then differ only in the trust ratio. Keras's SGD
    keeps weight decay out of the momentum, which makes it ten times weaker at a momentum of 0.9.

    Raises:
        RecipeError: If the optimizer rejects a field.
    """
    recipe = plan.recipe
    adapts = recipe.optimizer == "lars"
    excluded = EXCLUSIONS[recipe.exclude_from_layer_adaptation]() if adapts else ".*"
    multiplier = recipe.unadapted_learning_rate_multiplier if adapts else 1.0
    try:
        optimizer = keras_lars.LARS(
            schedule(plan),
            recipe.momentum,
            recipe.weight_decay,
            recipe.trust_coefficient,
            nesterov=recipe.nesterov,
            momentum_form=cast(Any, recipe.momentum_form),
            epsilon=recipe.epsilon,
            weight_norm_floor=recipe.weight_norm_floor,
            zero_weight_ratio=None if recipe.weight_norm_floor else 1.0,
            exclude_from_weight_decay=EXCLUSIONS[recipe.exclude_from_weight_decay](),
            exclude_from_layer_adaptation=excluded,
            unadapted_learning_rate_multiplier=multiplier,
            record_trust_ratios=plan.execution.record_trust_ratios_every > 0,
            gradient_accumulation_steps=plan.micro_batches if plan.micro_batches > 1 else None,
            name=recipe.optimizer,
        )
    except ValueError as error:
        raise RecipeError(str(error)) from error
    if recipe.precision == "mixed_float16":
        return keras_lars.LossScaleOptimizer(optimizer)
    return optimizer
