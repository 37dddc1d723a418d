"""Checks the updates in a scenario of fuzz_scenarios.py, each from the state before it."""

import collections
import warnings

import keras
import numpy as np
import tensorflow as tf

import keras_lars
from support.fuzz_scenarios import finfo
from support.helpers import to_numpy
from support.models import make_variable
from support.reference import ReferenceLARS


class Bounds:
    """Whether intermediate results were too large or too small for their types."""

    def __init__(self):
        self.overflow = self.underflow = False

    def array(self, x, dtype):
        """Only the largest element counts: what the others lose is below its precision."""
        largest = np.max(np.abs(x), initial=0.0)
        self.overflow |= not largest < float(finfo(dtype).max) / 4
        self.underflow |= 0 < largest < float(finfo(dtype).tiny) / float(finfo(dtype).eps)

    def norm(self, x, sum_dtype, dtype):
        squares = np.sum(np.square(np.asarray(x, "longdouble")))
        self.array(np.sqrt(squares).astype("float64"), dtype)
        self.overflow |= not squares < float(finfo(sum_dtype).max) / 4
        # Squares below the smallest normal number count as 0.
        lost = x.size * np.longdouble(finfo(sum_dtype).tiny)
        self.underflow |= bool(0 < squares < lost / finfo(sum_dtype).eps)


def norm(x):
    return float(np.sqrt(np.sum(np.square(np.asarray(x, "longdouble")))))


class Traced(ReferenceLARS):
    """The reference, which also reports the size of what it computes."""

    def traced_step(self, g, rate, sum_dtype, dtype, stored_dtype, bounds):
        """Takes a step; returns how large its terms are, and how ill-conditioned their sum is."""
        w, v, m = self.w, self.v, self.m
        decayed = g + self.β * self.w
        conditions = [1.0]
        in_norm = g
        if self.form == "ratio_of_update" and m:
            new = m * v + decayed
            in_norm = m * new + decayed if self.nesterov else new
            terms = norm(g) + self.β * norm(w) + norm(v)
        elif self.decay_in_norm:
            in_norm = decayed
            terms = norm(g) + self.β * norm(w)
        if self.adapted:
            bounds.norm(w, sum_dtype, dtype)
            bounds.norm(in_norm, sum_dtype, dtype)
            if in_norm is not g and norm(in_norm):
                conditions.append(2 * terms / norm(in_norm))
        q = self.ratio(g, rate)
        counted = max(norm(w), self.least_norm)
        raw = self.η * counted / (norm(in_norm) + self.ε or 1.0) if self.adapted else q
        for each in (q, raw, self.η * counted, rate * q, decayed, self.β * w, q * decayed):
            bounds.array(each, dtype)
        for each in (rate * q * decayed, m * v):
            bounds.array(each, dtype)
        self.step(g, rate)
        velocity_scale = {"classic": rate * q, "learning_rate_outside": q}.get(self.form, 1.0)
        if not m:
            velocity_scale = rate * q
        terms_of_v = m * np.abs(v) + velocity_scale * (np.abs(g) + self.β * np.abs(w))
        step_scale = {"classic": 1.0, "learning_rate_outside": rate}.get(self.form, rate * q)
        step = (step_scale if m else 1.0) * terms_of_v * (2 if self.nesterov else 1)
        bounds.array(self.w, stored_dtype)
        bounds.array(step, dtype)
        if m:
            bounds.array(self.v, stored_dtype)
            bounds.array(terms_of_v, dtype)
        return np.max(np.abs(w) + step, initial=0), np.max(terms_of_v, initial=0), max(conditions)


def tolerance_of(stored_dtype):
    return {"float64": 1e-12, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}[stored_dtype]


def as_tensor(gradient, dtype, shape):
    if gradient is None:
        return None
    if isinstance(gradient, tuple):
        values, rows = gradient
        return tf.IndexedSlices(tf.cast(values, dtype), rows, dense_shape=shape)
    return tf.cast(tf.constant(gradient, "float64"), dtype)


def as_dense(gradient, shape):
    """The dense gradient, and the factor by which summing repeated rows loses precision."""
    if not isinstance(gradient, tuple):
        return gradient, 1.0
    values, rows = gradient
    dense, absolute = np.zeros(shape), np.zeros(shape)
    np.add.at(dense, rows, values)
    np.add.at(absolute, rows, np.abs(values))
    return dense, norm(absolute) / (norm(dense) or 1.0)


class Run:
    """One optimizer on the variables of a scenario; each update is judged from the state before."""

    def __init__(self, scenario, jit_compile):
        self.scenario = scenario
        self.variables = [
            make_variable(f"v{i}/{'a' if adapted else 'x'}{'d' if decayed else 'x'}", w, dtype)
            for i, (w, dtype, adapted, decayed) in enumerate(
                zip(scenario.weights, scenario.dtypes, scenario.adapted, scenario.decayed)
            )
        ]
        self.optimizer = keras_lars.LARS(
            scenario.rate,
            jit_compile=jit_compile,
            exclude_from_layer_adaptation=keras_lars.optional("/x"),
            exclude_from_weight_decay=keras_lars.optional("x$"),
            **scenario.options,
        )
        self.optimizer.build(self.variables)
        self.compiled = self.optimizer._update.compiled
        self.judged = collections.Counter()

    def state(self):
        """Weights, velocities and averages of each variable, as float64."""
        slots = self.optimizer._slots
        return [
            [None if x is None else to_numpy(x) for x in kind]
            for kind in (slots.variables, slots.velocities, slots.averages)
        ]

    def bytes_of(self, i):
        slots = self.optimizer._slots
        kinds = (slots.variables, slots.velocities)
        return [np.array(kind[i].value).tobytes() for kind in kinds if kind[i] is not None]

    def update(self, micro_batches):
        scenario = self.scenario
        before = self.state()
        kept = [self.bytes_of(i) for i in range(len(self.variables))]
        for number, row in enumerate(micro_batches):
            if number:
                # Only the accumulators and the count have changed so far.
                assert [self.bytes_of(i) for i in range(len(self.variables))] == kept
            tensors = [
                as_tensor(*each) for each in zip(row, scenario.dtypes, scenario.shapes, strict=True)
            ]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about missing gradients
                self.optimizer.apply(tensors, self.variables)
        slots = self.optimizer._slots
        for variable, dtype in zip(self.variables, scenario.dtypes):
            assert keras.backend.standardize_dtype(variable.dtype) == dtype
        for kind in (slots.velocities, slots.averages, slots.accumulators):
            for slot, dtype in zip(kind, scenario.dtypes):
                assert slot is None or keras.backend.standardize_dtype(slot.dtype) == dtype
        self.judge(before, kept, micro_batches)

    def judge(self, before, kept, micro_batches):
        scenario, options = self.scenario, self.scenario.options
        steps = options["gradient_accumulation_steps"] or 1
        scale = options["loss_scale_factor"] or 1.0
        last = micro_batches[-1]
        bounds = [Bounds() for _ in self.variables]
        means, conditions = [], []
        for i, (shape, dtype) in enumerate(zip(scenario.shapes, scenario.dtypes)):
            dense = [as_dense(row[i], shape) for row in micro_batches]
            present = [g / scale for g, _ in dense if g is not None]
            with np.errstate(invalid="ignore"):
                mean = sum(present, np.zeros(shape)) / steps
            for partial in present:
                bounds[i].array(partial * scale, dtype)  # a sum of rows, before unscaling
                bounds[i].array(partial, dtype)
            total = sum(map(norm, present)) / steps
            conditions.append(
                max([1.0, *(c for _, c in dense)]) * max(1.0, total / (norm(mean) or 1))
            )
            means.append(None if last[i] is None else mean)

        tolerances = [
            tolerance_of(dtype) * condition for dtype, condition in zip(scenario.dtypes, conditions)
        ]
        if "global_clipnorm" in options:  # the error of one gradient scales all of them
            tolerances = [max(tolerances)] * len(tolerances)
        finite = [g is None or bool(np.all(np.isfinite(g))) for g in means]
        all_finite = all(finite)
        means = self.clipped(means, bounds)
        after = self.state()
        for i, mean in enumerate(means):
            case = f"{self.variables[i].path} {scenario}"
            if mean is None:
                if not self.overwritten():
                    assert self.bytes_of(i) == kept[i], case
                self.judged["missing"] += 1
                continue
            alone = "global_clipnorm" not in options
            began = [x for x in (before[0][i], before[1][i]) if x is not None]
            if not all(np.all(np.isfinite(x)) for x in began):
                self.judged["not finite before"] += 1
            elif not finite[i]:
                assert np.all(np.isnan(after[0][i])), case
                assert after[1][i] is None or np.all(np.isnan(after[1][i])), case
                self.judged["not finite"] += 1
            elif alone or all_finite:
                self.judge_one(i, mean, before, after, bounds[i], tolerances[i], case)

    def overwritten(self):
        frequency = self.scenario.options.get("ema_overwrite_frequency")
        return bool(frequency) and int(self.optimizer.iterations) % frequency == 0

    def clipped(self, gradients, bounds):
        """The gradients as Keras clips them, with norms as plain sums in the widest type."""
        options = self.scenario.options
        widest = (
            "float64"
            if "float64"
            in [dtype for dtype, g in zip(self.scenario.dtypes, gradients) if g is not None]
            else "float32"
        )
        clipped = list(gradients)
        norms = [0.0 if g is None else norm(g) for g in gradients]
        together = norm(np.array(norms))
        for i, g in enumerate(gradients):
            if g is None:
                continue
            with np.errstate(invalid="ignore", divide="ignore"):
                if "clipvalue" in options:
                    clipped[i] = np.clip(g, -0.5, 0.5)
                elif "clipnorm" in options:
                    bounds[i].norm(g, widest, widest)
                    clipped[i] = g * (min(1.0, 0.5 / norms[i]) if norms[i] else 1.0)
                elif "global_clipnorm" in options:
                    bounds[i].norm(np.array(norms), widest, widest)
                    clipped[i] = g * (min(1.0, 0.5 / together) if together else 1.0)
        return clipped

    def judge_one(self, i, g, before, after, bounds, tolerance, case):
        scenario, options = self.scenario, self.scenario.options
        stored = scenario.dtypes[i]
        dtype = "float64" if stored == "float64" else "float32"
        sum_dtype = "float64" if self.compiled else dtype
        names = ("nesterov", "decay_in_norm", "trust_clip", "zero_weight_ratio")
        reference = Traced(
            before[0][i],
            η=options["trust_coefficient"],
            m=options["momentum"],
            β=options["weight_decay"] if scenario.decayed[i] else 0.0,
            ε=options["epsilon"],
            floor=options["weight_norm_floor"],
            form=options["momentum_form"],
            zero_gradient_ratio=options["zero_gradient_ratio"],
            adapted=scenario.adapted[i],
            multiplier=options["unadapted_learning_rate_multiplier"],
            **{name: options[name] for name in names},
        )
        if before[1][i] is not None:
            reference.v = before[1][i]
        rate = float(np.float32(scenario.rate))
        with np.errstate(all="ignore"):
            size_w, size_v, own = reference.traced_step(g, rate, sum_dtype, dtype, stored, bounds)
        w, v = reference.w, reference.v
        if bounds.overflow:
            self.judged["overflow"] += 1
            return
        assert np.all(np.isfinite(after[0][i])), case
        assert after[1][i] is None or np.all(np.isfinite(after[1][i])), case
        if bounds.underflow:
            self.judged["underflow"] += 1
            return
        self.judged["exact"] += 1
        if self.overwritten():
            average = before[2][i]
            w = w if int(self.optimizer.iterations) == 1 else 0.99 * average + 0.01 * w
        tolerance *= own
        tiny = float(finfo(stored).tiny)
        np.testing.assert_allclose(
            after[0][i], w, rtol=0, atol=tolerance * size_w + tiny, err_msg=case
        )
        if after[1][i] is not None:
            np.testing.assert_allclose(
                after[1][i], v, rtol=0, atol=tolerance * size_v + tiny, err_msg=case
            )


def play(scenario, jit_compile):
    run = Run(scenario, jit_compile)
    for micro_batches in scenario.updates:
        run.update(micro_batches)
    return run
