"""A ``distributed`` cluster as an executor."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from quantdiff.errors import QuantdiffError, reason_of
from quantdiff.lazy import require

SECONDS = 20  # to find the scheduler


class NoCluster(QuantdiffError):
    """The scheduler does not answer."""


@contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """The executor of the cluster whose scheduler is at ``address``, such as ``tcp://host:8786``.

    Raises:
        MissingExtra: the extra ``[dask]`` is not installed.
        NoCluster: nobody answers there.
    """
    distributed = require("distributed", extra="dask")
    try:
        client = distributed.Client(address, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        reason = reason_of(error)
        raise NoCluster(f"{address}: no scheduler of dask.distributed answers there ({reason})") from error
    with client, client.get_executor() as executor:
        yield executor
