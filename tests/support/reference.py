"""LARS in NumPy float64, one tensor at a time, as in the paper.

You, Gitman, Ginsburg: Large Batch Training of Convolutional Networks (arXiv 1708.03888),
Algorithm 1, with the variants that are in use. Slow and simple on purpose: the optimizer is tested
against it, so it imports nothing from the package. Greek letters and `w, g, v` are the paper's.
"""

import numpy as np


class ReferenceLARS:
    def __init__(
        self,
        w,
        *,
        η=1e-3,
        m=0.9,
        β=0.0,
        ε=0.0,
        form="classic",
        nesterov=False,
        decay_in_norm=False,
        trust_clip=False,
        floor=0.05,
        zero_weight_ratio=None,
        zero_gradient_ratio=1.0,
        adapted=True,
        multiplier=1.0,
    ):
        self.w = np.array(w, np.float64)
        self.v = np.zeros_like(self.w)
        self.η, self.m, self.β, self.ε = η, m, β, ε
        self.form, self.nesterov, self.decay_in_norm = form, nesterov, decay_in_norm
        self.trust_clip, self.adapted, self.multiplier = trust_clip, adapted, multiplier
        # Not in the paper: the norm of w in the numerator counts as at least this.
        self.least_norm = floor * np.sqrt(self.w.shape[-1] if self.w.ndim else 1)
        self.zero_weight_ratio = zero_weight_ratio
        self.zero_gradient_ratio = zero_gradient_ratio

    def ratio(self, g, γ):
        """The local learning rate λ of the paper, called q here."""
        if not self.adapted:
            return self.multiplier
        norm_w = np.sqrt(np.sum(self.w**2))
        if self.form == "ratio_of_update" and self.m:
            decayed = g + self.β * self.w
            v = self.m * self.v + decayed
            norm_g = np.sqrt(np.sum((self.m * v + decayed if self.nesterov else v) ** 2))
            denominator = norm_g + self.ε
        elif self.decay_in_norm:
            norm_g = np.sqrt(np.sum((g + self.β * self.w) ** 2))
            denominator = norm_g + self.ε
        else:
            norm_g = np.sqrt(np.sum(g**2))
            denominator = norm_g + self.β * norm_w + self.ε
        if norm_w == 0 and self.zero_weight_ratio is not None:
            q = self.zero_weight_ratio
        elif norm_w != 0 and norm_g == 0 and self.zero_gradient_ratio is not None:
            q = self.zero_gradient_ratio
        else:
            q = 1.0 if denominator == 0 else self.η * max(norm_w, self.least_norm) / denominator
        if self.trust_clip:
            q = 1.0 if γ == 0 else min(q / γ, 1.0)
        return q

    def step(self, g, γ):
        g = np.asarray(g, np.float64)
        m, q = self.m, self.ratio(g, γ)
        decayed = g + self.β * self.w
        velocity_scale, step_scale = {
            "classic": (γ * q, 1.0),
            "learning_rate_outside": (q, γ),
            "ratio_outside": (1.0, γ * q),
            "ratio_of_update": (1.0, γ * q),
        }[self.form]
        u = velocity_scale * decayed
        self.v = m * self.v + u
        self.w = self.w - step_scale * (m * self.v + u if self.nesterov else self.v)
