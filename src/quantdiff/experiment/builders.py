"""Float models of a study: those of the zoo, and a person's own from ``FILE.py:build``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from quantdiff.compare.own_metric import Metric
from quantdiff.errors import BadData, BadMetric, BadModel, QuantdiffError
from quantdiff.experiment import zoo
from quantdiff.experiment.datasets import Dataset, load_dataset, locate
from quantdiff.experiment.sweep_trial import Source, Training
from quantdiff.experiment.trial import Trial, depth
from quantdiff.load.own_code import function_of
from quantdiff.references.keras.frameworks import frameworks

NAMED = ("mnist", "mnist-small")


def model_source(text: str) -> Source:
    """The model that ``text`` means: ``dense4``, or ``FILE.py:build`` with the hash of the file.

    Raises:
        BadModel: the zoo has no such model, or there is no such file.
    """
    if not (":" in text or text.endswith(".py")):
        depth(text)
        return Source(text)
    return _own_source(text, "a function that returns a Keras model", BadModel)


def metric_source(text: str) -> Source:
    """The user's metric, ``FILE.py:function``, with the hash of the file; raises ``BadMetric`` where there is none."""
    found = _own_source(text, "a function of outputs by name and labels", BadMetric)
    own_metric(found)  # whether it can be called is known before hours of training
    return found


def _own_source(text: str, what: str, refuse: type[QuantdiffError]) -> Source:
    file, _, function = text.rpartition(":")
    if not (file.endswith(".py") and function.isidentifier()):
        raise refuse(f"{text}: write FILE.py:FUNCTION, {what}")
    path = Path(file)
    if not path.is_file():
        raise refuse(f"{file}: no such file; give FILE.py:FUNCTION, {what}")
    return Source(f"{path.name}:{function}", sha256(path), str(path.resolve()))


@lru_cache(maxsize=4)
def own_metric(source: Source) -> Metric:
    """The user's metric, when its file is still the one that the trial names.

    Raises:
        BadMetric: the file is not there, has changed, or has no such function.
    """
    path, function = Path(source.path), source.name.rpartition(":")[2]
    if not path.is_file() or sha256(path) != source.sha256:
        raise BadMetric(f"{path}: is not the file that this trial was made for; start the sweep again")
    return Metric(source.name, function_of(f"{path}:{function}", BadMetric))


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
