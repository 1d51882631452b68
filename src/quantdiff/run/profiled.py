"""A device that was measured, as a runtime: its outputs predicted by the rules that a profile names.

A profile is TOML: ``schema``, the rule of each kind of operator under ``[rules]``, and ``[[exceptions]]`` with
``operator``, ``tensor`` (the name of what it gives) and ``rule``. ``identify`` writes it; ``sim/device.py`` names them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quantdiff.errors import BadProfile, RuntimeFailed, reason_of
from quantdiff.files import read_file
from quantdiff.graph import Model
from quantdiff.quant import Array
from quantdiff.run.in_process import InProcess
from quantdiff.run.runtimes import RuntimeEntry
from quantdiff.sim.device import Device, is_rule
from quantdiff.sim.graph.simulator import simulate

SCHEMA = "quantdiff-profile/1"
BYTES_AT_MOST = 10**7


def start(entry: RuntimeEntry, timeout: float) -> Profiled:
    """What predicts the device of the profile that the entry names.

    Raises:
        BadProfile: it cannot be read, or says something that is no profile.
    """
    return Profiled(entry.name, timeout, read_profile(Path(entry.file)))


class Profiled(InProcess):
    """The simulator by the rules of a profile."""

    def __init__(self, name: str, timeout: float, device: Device) -> None:
        super().__init__(name, timeout)
        self.device = device

    @property
    def rules(self) -> Device:
        """Those of the profile."""
        return self.device

    def give(self, model: Model, inputs: Sequence[Array], tensors: Sequence[int]) -> list[Array]:
        """As the simulator has them.

        Raises:
            RuntimeFailed: the profile has no rule for an operator, or the simulator lacks its kernel.
        """
        chain = simulate(model.main, inputs, self.device, model.subgraphs, keep=tensors)
        for item in chain.missing:
            raise RuntimeFailed(f"{self.runtime} cannot predict operator {item.index} {item.op}: {item.why}")
        return [chain.values[i] for i in tensors]


def read_profile(path: Path) -> Device:
    """The device that a profile describes.

    Raises:
        BadProfile: it cannot be read, or says something that is no profile; names the place.
    """
    try:
        document = tomllib.loads(read_file(path, BYTES_AT_MOST).decode())
    except OSError as error:
        raise BadProfile(f"profile {path}: {reason_of(error)}; `quantdiff identify --out FILE` writes one") from error
    except (ValueError, RecursionError) as error:
        raise BadProfile(f"profile {path}: no TOML ({reason_of(error)})") from error
    if document.get("schema") != SCHEMA:
        raise BadProfile(f"profile {path}: schema is {document.get('schema')!r}, this version reads {SCHEMA!r}")
    kinds = _table(path, document, "rules")
    exceptions = [_exception(path, each) for each in _list(path, document, "exceptions")]
    return Device(f"profile:{path}", tuple(kinds.items()), tuple(exceptions))


def _table(path: Path, document: Mapping[str, Any], name: str) -> dict[str, str]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise BadProfile(f"profile {path}: {name} is no table")
    return {kind: _rule(path, rule, kind) for kind, rule in table.items()}


def _list(path: Path, document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    entries = document.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise BadProfile(f"profile {path}: {name} is no list of tables")
    return entries


def _exception(path: Path, entry: Mapping[str, Any]) -> tuple[tuple[int, str], str]:
    operator, tensor = entry.get("operator"), entry.get("tensor", "")
    if not isinstance(operator, int) or isinstance(operator, bool) or not isinstance(tensor, str):
        raise BadProfile(f"profile {path}: an exception needs operator, a whole number, and tensor, a name")
    return (operator, tensor), _rule(path, entry.get("rule"), f"operator {operator}")


def _rule(path: Path, rule: Any, where: str) -> str:
    if not isinstance(rule, str) or (rule and not is_rule(rule)):
        raise BadProfile(f"profile {path}: {where}: there is no rule {rule!r} (docs/reference/rules.md lists them)")
    return rule
