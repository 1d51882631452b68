"""Keras models, of Keras 2 and 3, quantization-aware ones of TFMOT, and SavedModels."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from quantdiff.errors import BadModel
from quantdiff.files import FILE, FOLDER, what_is
from quantdiff.references.formats import FOLDERS, Format, Framework, Options


def _takes(source: Any) -> bool:
    """A Keras model in memory; TensorFlow need not be there to see that."""
    bases = {base.__module__.partition(".")[0] for base in type(source).__mro__}
    described = type(source).__module__.startswith(__name__)
    return described or (bool(bases & {"keras", "tf_keras"}) and hasattr(source, "layers"))


def _open(source: Any, options: Options) -> tuple[Any, ...]:
    if isinstance(source, Path) and source.is_dir():
        _check_folder(source)
    return (import_module("quantdiff.references.keras.reference").open_keras(source, options),)


def _check_folder(folder: Path) -> None:
    """TensorFlow opens what lies in a SavedModel, whatever it is."""
    for file in (folder, *folder.glob("*"), *folder.glob("variables/*"), *folder.glob("assets*/*")):
        try:
            kind = what_is(file)
        except OSError as error:
            raise BadModel(f"{file}: {error.strerror}; export the SavedModel again") from error
        if kind not in (FILE, FOLDER):
            raise BadModel(f"{file}: is {kind}, which no SavedModel has; export it again")


def _save(source: Any, path: Path) -> Path:
    """Keras 3 writes ``.keras`` only; TFMOT's models can be read again from ``.h5`` only."""
    model = getattr(source, "model", source)
    file = path.with_suffix(".keras" if type(model).__module__.partition(".")[0] == "keras" else ".h5")
    import_module("quantdiff.references.keras.model").save_keras(model, file)
    return file


def _import_framework() -> None:
    import_module("quantdiff.references.keras.frameworks").load_to_read()


KERAS = Framework("tensorflow", "keras", _import_framework)
FORMAT = Format((".keras", ".h5", FOLDERS), _takes, _open, _save, KERAS, also=(".hdf5",))
