"""What a sweep was asked for, from options or a TOML file, and the trials and models that this means."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from quantdiff.compare.comparison import TOLERANCE
from quantdiff.compare.own_metric import Metric
from quantdiff.errors import BadData, BadMetric, BadModel, QuantdiffError, reason_of
from quantdiff.experiment import zoo
from quantdiff.experiment.datasets import Dataset, load_dataset, locate
from quantdiff.experiment.trial import CALIBRATED, CALIBRATIONS, CONDITIONS, Source, SweepTrial, Training, Trial, depth
from quantdiff.files import read_file
from quantdiff.load.own_code import function_of
from quantdiff.quant import is_tolerance
from quantdiff.references.keras.frameworks import frameworks
from quantdiff.run.runtimes import ALL, installed, versions

KEYS = (
    "models",
    "model",
    "seeds",
    "conditions",
    "calibration",
    "data",
    "runtimes",
    "epochs",
    "bias",
    "tolerance",
    "metric",
    "store",
)
BYTES_AT_MOST = 1_000_000  # of a TOML file
EPOCHS_AT_MOST = 2**31
TRAININGS_AT_MOST = 100_000  # of one study; more means a slip of the pen
T = TypeVar("T")
SEEDS = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")


class BadStudy(QuantdiffError):
    """A study that cannot be carried out as it is written."""


@dataclass(frozen=True, slots=True)
class Study:
    """Models × seeds × conditions on one data set; every combination is a trial."""

    models: tuple[str, ...]
    seeds: tuple[int, ...]
    conditions: tuple[str, ...] = tuple(CONDITIONS)
    calibrations: tuple[str, ...] = ("train",)
    data: str = "mnist-small"
    runtimes: tuple[str, ...] = ("xnnpack",)
    epochs: int = 1
    bias: bool = True
    tolerance: float = TOLERANCE
    metric: str | None = None

    def groups(self) -> tuple[tuple[SweepTrial, ...], ...]:
        """All trials; those of one training stand together, and one seed of every model comes before the next.

        Raises:
            QuantdiffError: a model or the data set is not there.
        """
        data, found = data_source(self.data), tuple(versions().items())
        models = tuple(map(model_source, self.models))
        metric = None if self.metric is None else metric_source(self.metric)
        trainings = (
            Training(model, seed, data, self.epochs, self.bias, found) for seed in self.seeds for model in models
        )
        return tuple(tuple(self._trials(training, metric)) for training in trainings)

    def _trials(self, training: Training, metric: Source | None) -> Iterator[SweepTrial]:
        for condition in self.conditions:
            runtimes = () if condition in ("float", "qat") else self.runtimes
            for calibration in self.calibrations if condition in CALIBRATED else ("",):
                yield SweepTrial(training, condition, calibration, runtimes, self.tolerance, metric)


def read_study(path: Path) -> dict[str, Any]:
    """The options in a TOML file, by the names in ``KEYS``.

    Raises:
        BadStudy: no such file, no TOML, or a key that means nothing.
    """
    try:
        options = tomllib.loads(read_file(path, BYTES_AT_MOST).decode())
    except OSError as error:
        raise BadStudy(f"{path}: cannot be read ({error.strerror}); give a TOML file with {', '.join(KEYS)}") from error
    except (ValueError, RecursionError) as error:
        raise BadStudy(f"{path}: not TOML ({reason_of(error)}); it takes {', '.join(KEYS)}") from error
    unknown = [key for key in options if key not in KEYS]
    if unknown:
        raise BadStudy(f"{path}: no key {', '.join(unknown)}; there are {', '.join(KEYS)}")
    if not isinstance(options.get("store", ""), str):
        raise BadStudy(f"{path}: store = {options['store']!r}: str wanted")
    return options


def make_study(options: Mapping[str, Any]) -> Study:
    """A study from options as a person writes them: lists, or text with commas; ranges such as ``0-19``.

    Raises:
        BadStudy: nothing to train, a condition or a calibration that there is not, or a value of another kind.
    """
    models = (*_listed(options.get("models")), *_listed(options.get("model")))
    if not models:
        raise BadStudy("no models: add --models dense1,dense2 or --model FILE.py:build")
    conditions = _chosen("conditions", options.get("conditions", "all"), tuple(CONDITIONS))
    calibrations = _chosen("calibration", options.get("calibration", "train"), CALIBRATIONS)
    plain: dict[str, tuple[type, ...]] = {
        "data": (str,), "epochs": (int,), "bias": (bool,), "tolerance": (float, int), "metric": (str,)
    }  # fmt: skip
    chosen = {key: options[key] for key in plain if key in options}
    for key, value in chosen.items():
        if type(value) not in plain[key]:
            raise BadStudy(f"{key} = {value!r}: {plain[key][0].__name__} wanted")
    if not 1 <= chosen.get("epochs", 1) <= EPOCHS_AT_MOST or not is_tolerance(chosen.get("tolerance", 0)):
        raise BadStudy(f"epochs is at least 1 and at most {EPOCHS_AT_MOST:,}, tolerance at least 0")
    if "runtimes" in options:
        names = _listed(options["runtimes"])
        chosen["runtimes"] = installed() if ALL in names else names
    seeds = parse_seeds(options.get("seeds", "0"))
    if len(models) * len(seeds) > TRAININGS_AT_MOST:
        raise BadStudy(f"{len(models):,} models and {len(seeds):,} seeds: at most {TRAININGS_AT_MOST:,} trainings")
    return Study(_unique(models), seeds, conditions, calibrations, **chosen)


def parse_seeds(value: Any) -> tuple[int, ...]:
    """``0-3,7`` or a list of whole numbers → 0, 1, 2, 3, 7; raises ``BadStudy``."""
    seeds: list[int] = []
    for part in _listed(value):
        match = SEEDS.fullmatch(part)
        if match is None:
            raise BadStudy(f"seeds {part!r}: write 0-19, or 0,3,7")
        first = int(match[1])
        named = range(first, int(match[2] or first) + 1)
        if len(seeds) + len(named) > TRAININGS_AT_MOST:
            raise BadStudy(f"seeds {part!r}: at most {TRAININGS_AT_MOST:,} seeds")
        seeds += named
    if not seeds or max(seeds) >= 2**32:
        raise BadStudy(f"seeds {value!r}: at least one is needed, all below 2**32")
    return _unique(tuple(seeds))


def _chosen(key: str, value: Any, known: tuple[str, ...]) -> tuple[str, ...]:
    asked = _listed(value)
    if "all" in asked:
        return known
    for name in asked:
        if name not in known:
            raise BadStudy(f"{key}: no {name!r}; there are {', '.join(known)}, all")
    if not asked:
        raise BadStudy(f"{key}: none given; there are {', '.join(known)}, all")
    return _unique(asked)


def _listed(value: Any) -> tuple[str, ...]:
    """A list, or text with commas, as a tuple of words."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    return tuple(word for part in parts if part is not None and (word := str(part).strip()))


def _unique(values: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))


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
