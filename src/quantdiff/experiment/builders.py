"""Float models of a study: those of the zoo, and a person's own from ``FILE.py:build``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quantdiff.errors import BadData, BadModel
from quantdiff.experiment import zoo
from quantdiff.experiment.datasets import Dataset, load_dataset, locate
from quantdiff.experiment.sweep_trial import Source, Training
from quantdiff.experiment.trial import Trial, depth
from quantdiff.own_code import function_of
from quantdiff.references.keras.frameworks import frameworks

NAMED = ("mnist", "mnist-small")


def model_source(text: str) -> Source:
    """The model that ``text`` means: ``dense4``, or ``FILE.py:build`` with the hash of the file.

    Raises:
        BadModel: the zoo has no such model, or there is no such file.
    """
    file, colon, function = text.rpartition(":")
    if not (colon or text.endswith(".py")):
        depth(text)
        return Source(text)
    if not (file.endswith(".py") and function.isidentifier()):
        raise BadModel(f"{text}: write FILE.py:FUNCTION, a function that returns a Keras model")
    path = Path(file)
    if not path.is_file():
        raise BadModel(f"{file}: no such file; give FILE.py:FUNCTION, a function that returns a Keras model")
    return Source(f"{path.name}:{function}", sha256(path), str(path.resolve()))


def data_source(name: str) -> Source:
    """The data set ``name`` with the hash of its file; raises ``BadData`` where there is none."""
    path = locate(name)
    if name in NAMED:
        return Source(name, sha256(path))
    return Source(path.name, sha256(path), str(path.resolve()))


def sha256(path: Path) -> str:
    """The hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_data(source: Source, *, digits: bool) -> Dataset:
    """The data set, when it is still the one that the trial names; ``digits`` for the models of the zoo.

    Raises:
        BadData: the file is not there, has changed, or cannot be trained on.
    """
    name = source.path or source.name
    path = locate(name)
    if sha256(path) != source.sha256:
        raise BadData(f"{path}: is not the file that this trial was made for; start the sweep again")
    return load_dataset(name, digits=digits)


def builder(training: Training) -> Callable[[], Any]:
    """A function that gives the float model, not trained.

    Raises:
        BadModel: the file is not there, has changed, or has no such function.
    """
    source = training.model
    if not source.path:
        trial = Trial(source.name, training.seed, bias=training.bias)
        return lambda: zoo.build(trial)
    path, function = Path(source.path), source.name.rpartition(":")[2]
    if not path.is_file() or sha256(path) != source.sha256:
        raise BadModel(f"{path}: is not the file that this trial was made for; start the sweep again")
    return lambda: _own(path, function)


def _own(path: Path, function: str) -> Any:
    """Run a person's own code, because it was asked for by name."""
    keras = frameworks().keras
    made = function_of(f"{path}:{function}", BadModel)()
    if not isinstance(made, keras.Model):
        raise BadModel(
            f"{path}:{function} gave a {type(made).__module__}.{type(made).__qualname__}; TFMOT takes models of "
            "Keras 2: import tf_keras, or tf.keras in the environment that quantdiff sets up"
        )
    if len(made.inputs or ()) != 1 or len(made.outputs) != 1:
        raise BadModel(f"{path}:{function}: a model of one input and one output of class scores is wanted")
    return made
