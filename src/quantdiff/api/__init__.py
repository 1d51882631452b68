"""The pipeline, one file per question; each function is imported when it is first used."""

from typing import TYPE_CHECKING

from quantdiff.lazy import public_names

__all__: list[str]

if TYPE_CHECKING:  # the list of the public names
    from quantdiff.api.advice import Wanted as Wanted
    from quantdiff.api.advice import advise as advise
    from quantdiff.api.comparisons import diff as diff
    from quantdiff.api.engines import DEFAULTS as DEFAULTS
    from quantdiff.api.engines import Settings as Settings
    from quantdiff.api.experiments import count_stored as count_stored
    from quantdiff.api.experiments import read_run as read_run
    from quantdiff.api.experiments import report_study as report_study
    from quantdiff.api.experiments import run as run
    from quantdiff.api.experiments import sweep as sweep
    from quantdiff.api.experiments import what_moved as what_moved
    from quantdiff.api.explanations import Asked as Asked
    from quantdiff.api.explanations import explain as explain
    from quantdiff.api.files import identify as identify
    from quantdiff.api.files import inspect as inspect
    from quantdiff.api.files import lint as lint
    from quantdiff.api.files import record as record
    from quantdiff.api.files import work as work
    from quantdiff.api.overlays import Overlays as Overlays
    from quantdiff.api.overlays import overlay as overlay
    from quantdiff.api.pages import diff_page as diff_page
    from quantdiff.api.pages import diff_with_page as diff_with_page
    from quantdiff.api.pages import explain_with_page as explain_with_page
    from quantdiff.api.pages import run_page as run_page
    from quantdiff.api.parameters import params as params
    from quantdiff.api.parameters import params_experiment as params_experiment
    from quantdiff.api.parity import check_parity as check_parity
    from quantdiff.api.reductions import reduce as reduce
    from quantdiff.api.verifications import Drawn as Drawn
    from quantdiff.api.verifications import verify as verify
    from quantdiff.api.worsts import worst as worst
    from quantdiff.ladder.advice.advised import Advised as Advised
    from quantdiff.ladder.explanation import Explanations as Explanations
    from quantdiff.run.data_in_parts import InParts as InParts
else:
    __getattr__, __all__ = public_names(__name__)
