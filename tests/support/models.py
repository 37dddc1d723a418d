"""Small variables, models and batches that test files share."""

import contextlib

import keras
import numpy as np

FEATURES = 4


def make_variable(path, value, dtype="float32", **attributes):
    """A `keras.Variable` whose `path` is `path`; `attributes` are set on it."""
    *scopes, name = path.split("/")
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        variable = keras.Variable(np.asarray(value), dtype=dtype, name=name)
    for attribute, setting in attributes.items():
        setattr(variable, attribute, setting)
    return variable


def normal(seed, shape):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def batch(step, size=8):
    """The batch of training step `step`: the same numbers in every run."""
    return normal([1, step], (size, FEATURES)), normal([2, step], (size, 1))


@keras.saving.register_keras_serializable(package="keras_lars_tests")
class Subclassed(keras.Model):
    def __init__(self, units=FEATURES, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden = keras.layers.Dense(units, activation="tanh", name="hidden")
        self.normalization = keras.layers.BatchNormalization(name="normalization")
        self.head = keras.layers.Dense(1, name="head")

    def call(self, inputs, training=False):
        return self.head(self.normalization(self.hidden(inputs), training=training))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="keras_lars_tests")
class Outer(keras.Model):
    """A subclassed model around another subclassed model and a Sequential one."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.Sequential([keras.layers.Dense(FEATURES, name="dense")], name="first")
        self.second = Subclassed(name="second")

    def call(self, inputs, training=False):
        return self.second(self.first(inputs), training=training)


def sequential():
    # Built from its first batch: the paths of such a model change when it is reloaded.
    return keras.Sequential(
        [
            # Two kernels have the same shape, so that tests notice mixed-up slots.
            keras.layers.Dense(FEATURES, activation="tanh", name="a"),
            keras.layers.Dense(FEATURES, activation="tanh", name="b"),
            keras.layers.Dense(1, name="head"),
        ]
    )


def two_dense():
    inputs = keras.Input((FEATURES,))
    x = keras.layers.Dense(FEATURES, activation="tanh", name="base")(inputs)
    return keras.Model(inputs, keras.layers.Dense(1, name="head")(x))


def functional():
    inputs = keras.Input((FEATURES,))
    left = keras.layers.Dense(FEATURES, activation="tanh", name="left")(inputs)
    right = keras.layers.Dense(FEATURES, name="right")(inputs)
    outputs = keras.layers.Add()([left, keras.layers.BatchNormalization()(right)])
    return keras.Model(inputs, keras.layers.Dense(1, name="head")(outputs))


def subclassed():
    return Subclassed()


def nested():
    inputs = keras.Input((FEATURES,))
    inner = keras.Sequential(
        [keras.Input((FEATURES,)), keras.layers.Dense(FEATURES, name="dense")], name="inner"
    )
    return keras.Model(inputs, Subclassed(name="last")(inner(inputs)))


def nested_subclassed():
    return Outer()


BUILDERS = {
    builder.__name__: builder
    for builder in (sequential, functional, subclassed, nested, nested_subclassed)
}


def compiled(builder, optimizer, seed=0, **options):
    """A built and compiled model with the weights of `seed`."""
    model = builder()
    model(batch(0)[0])
    model.set_weights(
        [
            # Moving variances and gammas start near 1, and nothing is 0.
            (1.0 if np.all(weight == 1) else 0.0) + 0.3 * normal([seed, index], weight.shape) ** 2
            if weight.ndim == 1
            else normal([seed, index], weight.shape)
            for index, weight in enumerate(model.get_weights())
        ]
    )
    model.compile(optimizer=optimizer, **{"loss": "mse", "jit_compile": False, **options})
    return model


def train(model, first, last):
    """Takes steps `first` to `last - 1`, each on the batch with its number."""
    for step in range(first, last):
        # As tensors: Keras 3.10 warns if a loaded functional model is called on an array.
        model.train_on_batch(*map(keras.ops.convert_to_tensor, batch(step)))


def numbers(variables):
    """Copies: TensorFlow hands out views of variables that later steps overwrite."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assert_equal(actual, expected):
    """Two lists of arrays are equal bit for bit."""
    assert len(actual) == len(expected)
    for left, right in zip(actual, expected, strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


def assert_close(actual, expected, tolerance=1e-6):
    """Two lists of arrays are equal within `tolerance` of each array's largest element."""
    assert len(actual) == len(expected)
    for left, right in zip(actual, expected, strict=True):
        largest = np.max(np.abs(right), initial=np.finfo("float32").tiny)
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance * largest)


def exchanges(graph):
    """The numbers of nodes that exchange values between replicas, in a step that accumulates.

    Counted outside its condition, in the branch that updates, and in the one that only accumulates.
    """
    definition = graph.as_graph_def()
    (condition,) = [node for node in definition.node if node.op in ("If", "StatelessIf")]
    bodies = {
        function.signature.name: function.node_def for function in definition.library.function
    }
    parts = [
        definition.node,
        bodies[condition.attr["then_branch"].func.name],
        bodies[condition.attr["else_branch"].func.name],
    ]
    return [sum("Collective" in node.op for node in nodes) for nodes in parts]


def compiled_functions(graph):
    """The names of the functions that XLA must compile."""
    return [
        function.signature.name
        for function in graph.as_graph_def().library.function
        if function.attr["_XlaMustCompile"].b
    ]


def smallest_network(options, name):
    """A replacement for "alexnet_tiny" of `benchmarks.models` with few layers to trace.

    It has what a backup must be able to save: normalization and dropout.
    """
    from benchmarks.models.virtual_batch import normalization

    images = keras.Input(options.image_shape, name="images")
    x = keras.layers.Conv2D(4, 3, strides=2, name="convolution")(images)
    if options.width == 1:
        x = normalization(options.virtual_batch_size, "normalization")(x)
    x = keras.layers.Flatten(name="flat")(keras.layers.ReLU(name="relu")(x))
    x = keras.layers.Dropout(options.dropout, name="dropout")(x)
    logits = keras.layers.Dense(options.classes, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name=name)


def two_layers(image_shape, classes):
    """A replacement for a network of `benchmarks.experiments.small.networks`."""
    flatten = keras.layers.Flatten(name="flatten")
    layers = [flatten, keras.layers.Dense(32, "relu"), keras.layers.Dense(classes)]
    return keras.Sequential([keras.Input(image_shape), *layers])


def one_layer(name, image_shape, classes, **options):
    """A replacement for `benchmarks.models.build`: a network that compiles quickly."""
    del name, options
    layers = [keras.Input(image_shape), keras.layers.Flatten(), keras.layers.Dense(classes)]
    return keras.Sequential(layers)
