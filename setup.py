"""The package: `pip install ".[tensorflow]"` from here."""

import pathlib
import re

from setuptools import setup

HERE = pathlib.Path(__file__).parent

# Read as text: importing the package needs Keras, which may not be installed yet.
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "keras_lars" / "_version.py").read_text(), re.MULTILINE
).group(1)

setup(
    name="keras-lars",
    version=VERSION,
    description="LARS, layer-wise adaptive rate scaling, for Keras 3: exact and compiled by XLA.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=["keras_lars", "keras_lars._keras", "keras_lars.callbacks", "keras_lars.report"],
    package_data={"keras_lars": ["py.typed"]},
    # The oldest versions that the test suite is run with; see README, "Versions".
    python_requires=">=3.10",
    install_requires=["keras>=3.10,<4", "numpy"],
    extras_require={
        "tensorflow": ["tensorflow>=2.18"],
        "benchmarks": [
            "absl-py",
            "importlib_resources",  # which TensorFlow Datasets needs, and does not say
            "matplotlib",
            "scikit-learn",
            "scipy",
            "tensorboard",
            "tensorflow-datasets",
        ],
        "report": ["matplotlib"],
        "tests": ["hypothesis", "pytest", "pytest-xdist", "pyyaml", "ruff"],
        "peers": ["open-lars", "optax", "pytorch_optimizer", "timm"],
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
