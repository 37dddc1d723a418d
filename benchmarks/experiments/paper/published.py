"""Numbers of the paper that are no accuracies of rows. arXiv 1708.03888."""

from typing import NamedTuple

SOURCE = "arXiv 1708.03888, table 2"


class Norms(NamedTuple):
    """Of one variable at the first iteration."""

    weight_norm: float
    gradient_norm: float
    ratio: float


# As printed, the "b" first and the "w" second; see `norms_of_table_2`.
_PRINTED = {
    "conv1": (Norms(1.86, 0.22, 8.48), Norms(0.098, 0.017, 5.76)),
    "conv2": (Norms(5.546, 0.165, 33.6), Norms(0.16, 0.002, 83.5)),
    "conv3": (Norms(9.40, 0.135, 69.9), Norms(0.196, 0.0015, 127)),
    "conv4": (Norms(8.15, 0.109, 74.6), Norms(0.196, 0.0013, 148)),
    "conv5": (Norms(6.65, 0.09, 73.6), Norms(0.16, 0.0002, 69)),
    "fc6": (Norms(30.7, 0.26, 117), Norms(6.4, 0.005, 1345)),
    "fc7": (Norms(20.5, 0.30, 68), Norms(6.4, 0.013, 489)),
    "fc8": (Norms(20.2, 0.22, 93), Norms(0.316, 0.016, 19)),
}

NOTE = (
    f"Published: {SOURCE}, AlexNet-BN, with the names of weights and biases exchanged. What is "
    "printed there as a bias has the norm that the weights start with, and the other way round: "
    "conv1's weights start with a deviation of 0.01, so that their norm is 0.01 * sqrt(96 * 363) = "
    "1.87, and its biases at 0.01, so that theirs is 0.01 * sqrt(96) = 0.098. The printed gradient "
    "of conv5's biases, 0.0002, does not go with its ratio, 69: that makes 0.0023."
)


def norms_of_table_2() -> dict[str, Norms]:
    """Table 2 by the names of this project's variables, with weights and biases told right."""
    return {
        f"{'logits' if layer == 'fc8' else layer}/{kind}": norms
        for layer, printed in _PRINTED.items()
        for kind, norms in zip(("kernel", "bias"), printed)
    }
