"""The package: `pip install ".[tensorflow]"` from here."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
URL = "https://github.com/keras-lars/keras-lars"

# Read as text: importing the package needs Keras, which may not be installed yet.
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "keras_lars" / "_version.py").read_text(), re.MULTILINE
).group(1)


def with_absolute_links(markdown):
    """README for package indexes, where its relative links and images lead nowhere."""

    def absolute(match):
        target = match[1]
        if re.match(r"[a-z]+:", target):
            return match[0]
        if target.startswith("#"):  # not every index gives headings an anchor
            target = f"README.md{target}"
        kind = "raw" if target.endswith((".png", ".svg")) else "blob"
        return f"]({URL}/{kind}/HEAD/{target})"

    # What looks like a link in code is none: `layers[0](x)`.
    parts = re.split(r"(```.*?```|`[^`]*`)", markdown, flags=re.DOTALL)
    parts[::2] = [re.sub(r"\]\(([^)\s]+)\)", absolute, text) for text in parts[::2]]
    return "".join(parts)


setup(
    name="keras-lars",
    version=VERSION,
    description="LARS, layer-wise adaptive rate scaling, for Keras 3, compiled by XLA.",
    long_description=with_absolute_links((HERE / "README.md").read_text(encoding="utf-8")),
    long_description_content_type="text/markdown",
    project_urls={
        "Documentation": f"{URL}/blob/HEAD/docs/README.md",
        "Source": URL,
        "Changelog": f"{URL}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{URL}/issues",
    },
    keywords=["Keras", "LARS", "large batch", "layer-wise adaptive rate scaling", "optimizer"],
    license_expression="Apache-2.0",
    packages=find_packages(include=["keras_lars", "keras_lars.*"]),
    package_data={"keras_lars": ["py.typed"], "keras_lars.report": ["page.*", "noise.html"]},
    # The oldest versions that the test suite is run with; see docs/numerics.md, "Versions".
    python_requires=">=3.10",
    install_requires=["keras>=3.10,<4", "numpy"],
    extras_require={
        "tensorflow": ["tensorflow>=2.18"],
        "jax": ["jax>=0.6"],
        "torch": ["torch>=2.4"],
        "benchmarks": [
            "absl-py",
            "importlib_resources",  # which TensorFlow Datasets needs, and does not say
            "matplotlib",
            "pandas",
            "scikit-learn",
            "scipy",
            "tabulate",
            "tensorboard",
            "tensorflow-datasets",
        ],
        "docs": ["mkdocs-material"],
        "report": ["matplotlib"],
        "tests": [
            "coverage>=7.10",
            "hypothesis",
            "mypy",
            "pytest",
            "pytest-xdist",
            "pyyaml",
            "ruff",
        ],
        "peers": ["open-lars", "optax", "pytorch_optimizer", "timm"],
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
