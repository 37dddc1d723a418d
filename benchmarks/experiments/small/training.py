"""Trains one small network, on any backend of Keras."""

import dataclasses
import itertools
import math
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.experiments.small import images
from benchmarks.experiments.small.images import Part

WEIGHT_DECAY = 5e-4
LAMB_WEIGHT_DECAY = 0.01
DECAY_POWER = 2.0


@dataclasses.dataclass(frozen=True)
class Training:
    """The settings of a training.

    Attributes:
        network: A name in `networks.NETWORKS`.
        optimizer: "momentum", "nesterov", "lars", "lars_nesterov" or "lamb".
        global_batch_size: Images per update. The last update of an epoch may have fewer.
        epochs: Number of epochs.
        image_size: Image height and width in pixels.
        seed: Seed of the initial weights and the order of images.
        learning_rate: Peak learning rate.
        momentum: Momentum of all optimizers except Lamb.
        warmup_fraction: Fraction of the updates for the warm-up from 0.
        micro_batch_size: Images in a micro-batch. Larger batches are accumulated.
        constant_rate: Whether the learning rate is constant.
        zero_weight_ratio: Argument of LARS.
        weight_norm_floor: Argument of LARS.
        data: "fashion_mnist", "cifar10" or "digits".
    """

    network: str
    optimizer: str
    global_batch_size: int
    epochs: int
    image_size: int
    seed: int
    learning_rate: float
    momentum: float = 0.9
    warmup_fraction: float = 0.2
    micro_batch_size: int | None = None
    constant_rate: bool = False
    zero_weight_ratio: float | None = 1.0
    weight_norm_floor: float = 0.0
    data: str = "fashion_mnist"

    @property
    def accumulated(self) -> int:
        """Micro-batches per update."""
        return max(1, self.global_batch_size // (self.micro_batch_size or self.global_batch_size))

    def train(self, data_dir: str | None) -> dict:
        """Trains the network; see `train` of this module."""
        return train(self, data_dir)


def optimizer(training: Training, learning_rate: Any) -> Any:
    """The optimizer. Momentum is LARS without layer adaptation, so weight decay is the same."""
    import keras

    import keras_lars

    steps = training.accumulated if training.accumulated > 1 else None
    if training.optimizer == "lamb":
        return keras.optimizers.Lamb(
            learning_rate, weight_decay=LAMB_WEIGHT_DECAY, gradient_accumulation_steps=steps
        )
    is_lars = training.optimizer in ("lars", "lars_nesterov")
    return keras_lars.LARS(
        learning_rate,
        momentum=training.momentum,
        weight_decay=WEIGHT_DECAY,
        nesterov=training.optimizer in ("nesterov", "lars_nesterov"),
        zero_weight_ratio=training.zero_weight_ratio,
        weight_norm_floor=training.weight_norm_floor,
        exclude_from_layer_adaptation=[] if is_lars else ".*",
        gradient_accumulation_steps=steps,
    )


def learning_rate(training: Training, steps: int) -> Any:
    """A schedule with warm-up and decay over the steps, or a constant."""
    import keras

    import keras_lars

    if training.constant_rate:
        return training.learning_rate
    warmup = max(1, round(training.warmup_fraction * steps))
    decay = keras.optimizers.schedules.PolynomialDecay(
        training.learning_rate, max(1, steps - warmup), 0.0, power=DECAY_POWER
    )
    return keras_lars.schedules.WarmUp(decay, warmup, shift_decay=True)


def recalibration(model: Any, images: Any, epochs: int) -> list[Any]:
    """A callback that recomputes batch statistics at the end, if the model has any.

    In the few updates of a large batch, moving averages lag far behind the weights. An evaluation
    would measure that lag instead of the weights.
    """
    import keras

    from keras_lars.callbacks import RecalibrateStatistics

    if not any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers):
        return []
    return [RecalibrateStatistics(images, every_epochs=epochs, batch_size=1000)]


def fit(
    model: Any,
    optimizer: Any,
    part: Part,
    batch_size: int,
    epochs: int,
    callbacks: Sequence[Any] = (),
    jit_compile: bool | str = "auto",
) -> float:
    """Compiles and trains a model as in a tutorial. Returns the seconds of `fit`."""
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=jit_compile)
    started = time.perf_counter()
    model.fit(part.images, part.labels, batch_size, epochs, verbose=0, callbacks=list(callbacks))
    return round(time.perf_counter() - started, 1)


def reached(
    model: Any,
    optimizer: Any,
    part: Part,
    held_out: Part,
    batch_size: int,
    epochs: int,
    callbacks: Sequence[Any] = (),
) -> dict[str, Any]:
    """Trains a model with `fit` and evaluates it. Returns the result for result files."""
    seconds = fit(model, optimizer, part, batch_size, epochs, callbacks)
    accuracy = round(evaluate(model, held_out)["accuracy"], 4)
    return {"diverged": False, "test_accuracy": accuracy, "seconds": seconds}


def evaluate(model: Any, part: Part) -> dict[str, float]:
    """The loss and accuracy of a model on a part."""
    return model.evaluate(part.images, part.labels, 1000, verbose=0, return_dict=True)


def train(training: Training, data_dir: str | None) -> dict:
    """Trains a network.

    Returns:
        Accuracies and losses, which are None if the training diverged; images per second in the
        fastest epoch; the number of updates; and the seconds of the whole training.
    """
    import keras

    from benchmarks.experiments.small.networks import NETWORKS

    started = time.perf_counter()
    keras.backend.clear_session()
    keras.utils.set_random_seed(training.seed)
    data = images.load(data_dir, training.image_size, training.data)
    part = data["training"]
    at_once = training.global_batch_size // training.accumulated
    micro_batches = training.epochs * math.ceil(len(part.labels) / at_once)
    # Keras's optimizers count a schedule in micro-batches, keras_lars in updates.
    per_step = 1 if training.optimizer == "lamb" else training.accumulated
    steps = micro_batches // per_step
    model = NETWORKS[training.network](part.images.shape[1:], images.CLASSES)
    times: list[float] = []
    fit(
        model,
        optimizer(training, learning_rate(training, steps)),
        part,
        at_once,
        training.epochs,
        [
            keras.callbacks.TerminateOnNaN(),
            *recalibration(model, data["measured"].images, training.epochs),
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: times.append(time.perf_counter())
            ),
        ],
        # Compiling its many small operations makes it 1.5 times as fast.
        jit_compile=True if training.network == "vit" else "auto",
    )
    found = {name: evaluate(model, data[name]) for name in ("measured", "choosing", "test")}
    diverged = not all(math.isfinite(each["loss"]) for each in found.values())
    seconds = [later - earlier for earlier, later in itertools.pairwise(times)]
    fastest = min(seconds) if seconds and not diverged else None
    return {
        "diverged": diverged,
        **{
            f"{name}_{kind}": None if diverged else round(each[kind], 6)
            for name, each in found.items()
            for kind in ("accuracy", "loss")
        },
        "updates": int(keras.ops.convert_to_numpy(model.optimizer.iterations)),
        "images_per_second": fastest and round(len(part.labels) / fastest),
        "seconds": round(time.perf_counter() - started, 1),
    }
