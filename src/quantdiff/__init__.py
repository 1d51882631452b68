"""Where, by how much and why a quantized TFLite / LiteRT model differs from the one that was trained."""

from typing import TYPE_CHECKING

from quantdiff.lazy import public_names

__all__: list[str]

if TYPE_CHECKING:  # the list of the public names
    from quantdiff.api import Settings as Settings
    from quantdiff.api import diff as diff
    from quantdiff.api import explain as explain
    from quantdiff.api import inspect as inspect
    from quantdiff.api import lint as lint
    from quantdiff.api import params as params
    from quantdiff.api import verify as verify
    from quantdiff.api import work as work
    from quantdiff.errors import QuantdiffError as QuantdiffError
    from quantdiff.experiment.callback import ParityCallback as ParityCallback
    from quantdiff.experiment.trial import Trial as Trial
    from quantdiff.load.data import Batch as Batch
    from quantdiff.load.data import load_batch as load_batch
    from quantdiff.load.data import make_batch as make_batch
    from quantdiff.load.tflite import load_tflite as load_tflite
    from quantdiff.report.notebook.explorer import explore as explore
    from quantdiff.run.inputs import load_data as load_data
else:
    __getattr__, __all__ = public_names(__name__)
