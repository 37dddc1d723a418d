"""Trains one small network, on any backend of Keras."""

import dataclasses
import itertools
import math
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.experiments.small import images
from benchmarks.experiments.small.images import Part
from benchmarks.lazy import keras, keras_lars

WEIGHT_DECAY = 5e-4
LAMB_WEIGHT_DECAY = 0.01
DECAY_POWER = 2.0


@dataclasses.dataclass(frozen=True)
class Training:
    """The settings of a training run."""

    network: str  # a name in `networks.NETWORKS`
    optimizer: str  # "momentum", "nesterov", "lars", "lars_nesterov" or "lamb"
    global_batch_size: int  # the last update of an epoch may have fewer images
    epochs: int
    image_size: int  # height and width in pixels
    seed: int  # of the initial weights and the order of images
    learning_rate: float  # at the peak
    momentum: float = 0.9  # of all optimizers except Lamb
    warmup_fraction: float = 0.2  # of the updates
    micro_batch_size: int | None = None  # larger batches are accumulated
    constant_rate: bool = False  # instead of warm-up and decay
    zero_weight_ratio: float | None = 1.0  # of LARS
    weight_norm_floor: float = 0.0  # of LARS
    data: str = "fashion_mnist"  # a name in `images.DATA`

    @property
    def accumulated(self) -> int:
        """Micro-batches per update."""
        return max(1, self.global_batch_size // (self.micro_batch_size or self.global_batch_size))

    def train(self, data_dir: str | None) -> dict:
        """Trains the network.

        Returns:
            Accuracies and losses, which are None if the training diverged; images per second in
            the fastest epoch; the number of updates; and the seconds of the whole training.
        """
        started = time.perf_counter()
        data = images.load(data_dir, self.image_size, self.data)
        part = data["training"]
        at_once = self.global_batch_size // self.accumulated
        micro_batches = self.epochs * math.ceil(len(part.labels) / at_once)
        # Keras's optimizers count a schedule in micro-batches, keras_lars in updates.
        steps = micro_batches // (1 if self.optimizer == "lamb" else self.accumulated)
        model = new_model(self.network, self.seed, part)
        times: list[float] = []
        callbacks = [
            keras.callbacks.TerminateOnNaN(),
            *recalibration(model, data["measured"].images, self.epochs),
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: times.append(time.perf_counter())
            ),
        ]
        # Compiling its many small operations makes it 1.5 times as fast.
        jit_compile = True if self.network == "vit" else "auto"
        made = optimizer(self, learning_rate(self, steps))
        fit(model, made, part, at_once, self.epochs, callbacks, jit_compile)
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


def optimizer(training: Training, learning_rate: Any) -> "keras.Optimizer":
    """The optimizer. Momentum is LARS without layer adaptation, so weight decay is the same."""
    steps = training.accumulated if training.accumulated > 1 else None
    if training.optimizer == "lamb":
        return keras.optimizers.Lamb(
            learning_rate, weight_decay=LAMB_WEIGHT_DECAY, gradient_accumulation_steps=steps
        )
    return keras_lars.LARS(
        learning_rate,
        momentum=training.momentum,
        weight_decay=WEIGHT_DECAY,
        nesterov=training.optimizer.endswith("nesterov"),
        zero_weight_ratio=training.zero_weight_ratio,
        weight_norm_floor=training.weight_norm_floor,
        exclude_from_layer_adaptation=[] if training.optimizer.startswith("lars") else ".*",
        gradient_accumulation_steps=steps,
    )


def learning_rate(training: Training, steps: int) -> Any:
    """A schedule with warm-up and decay over the steps, or a constant."""
    if training.constant_rate:
        return training.learning_rate
    warmup = max(1, round(training.warmup_fraction * steps))
    decay = keras.optimizers.schedules.PolynomialDecay(
        training.learning_rate, max(1, steps - warmup), 0.0, power=DECAY_POWER
    )
    return keras_lars.schedules.WarmUp(decay, warmup, shift_decay=True)


# --- what all small experiments share -------------------------------------------------------------


def new_model(network: str, seed: int, part: Part, classes: int = images.CLASSES) -> "keras.Model":
    """A network for the images of a part. The seed is also that of the training that follows."""
    from benchmarks.experiments.small.networks import NETWORKS

    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    return NETWORKS[network](part.images.shape[1:], classes)


def recalibration(model: "keras.Model", images: Any, epochs: int) -> list["keras.Callback"]:
    """A callback that recomputes batch statistics at the end, if the model has any.

    In the few updates of a large batch, moving averages lag far behind the weights. An evaluation
    would measure that lag instead of the weights.
    """
    if not any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers):
        return []
    return [
        keras_lars.callbacks.RecalibrateStatistics(images, every_epochs=epochs, batch_size=1000)
    ]


def fit(
    model: "keras.Model",
    optimizer: "keras.Optimizer",
    part: Part,
    batch_size: int,
    epochs: int,
    callbacks: Sequence[Any] = (),
    jit_compile: bool | str = "auto",
) -> float:
    """Compiles and trains a model as in a tutorial. Returns the seconds of `fit`."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=jit_compile)
    started = time.perf_counter()
    model.fit(part.images, part.labels, batch_size, epochs, verbose=0, callbacks=list(callbacks))
    return round(time.perf_counter() - started, 1)


def reached(
    model: "keras.Model",
    optimizer: "keras.Optimizer",
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


def evaluate(model: "keras.Model", part: Part) -> dict[str, float]:
    """The loss and accuracy of a model on a part."""
    return model.evaluate(part.images, part.labels, 1000, verbose=0, return_dict=True)
