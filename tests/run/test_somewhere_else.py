"""A worker that a command starts: over a real ``sshd``, and over a plain command; all that can be wrong with one."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import small_models as models
from click.testing import CliRunner, Result
from recorded_device import network
from ssh_server import NoServer, ssh_server

from quantdiff.cli import main
from quantdiff.errors import BadConfiguration, NotSimulated, NoWorker, RuntimeCrashed, RuntimeHung, RuntimeUnavailable
from quantdiff.run.channel import LARGEST, InStream
from quantdiff.run.conversation import Parcel, block_of, mapped
from quantdiff.run.runner import RuntimeProcess
from quantdiff.run.runtimes import chosen, entry_of, rules_of, workers

pytestmark = pytest.mark.golden
HERE = shlex.join([sys.executable, "-P", "-m", "quantdiff.run.worker"])
FOUR = np.full((2, 4), 3, np.int8)


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose configuration has ``near``, and a model and data in it."""
    monkeypatch.chdir(tmp_path)
    configure(near=HERE)
    Path("model.tflite").write_bytes(network())
    np.save("x.npy", np.random.default_rng(1).uniform(-2, 2, (20, 6, 6, 3)).astype(np.float32))
    return tmp_path


def configure(**commands: str) -> None:
    Path("quantdiff.toml").write_text(
        "".join(f"[runtimes.{k}]\ncommand = {json.dumps(v)}\n" for k, v in commands.items())
    )


def invoke(command: str, *options: str) -> Result:
    files = ["model.tflite"] * (2 if command == "diff" else 1)
    return CliRunner().invoke(main, [command, *files, "--data", "x.npy", *options])


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        with ssh_server(tmp_path_factory.mktemp("ssh")) as command:
            yield command
    except NoServer as error:
        pytest.skip(str(error))


def verdicts(result: Result) -> dict[str, tuple[str, int]]:
    return {n: (each["status"], each["count"]) for n, each in json.loads(result.stdout)["runtimes"].items()}


@pytest.mark.usefixtures("configured")
def test_over_ssh_a_runtime_gives_what_it_gives_here(ssh: str) -> None:
    configure(pi=f"{ssh} {HERE}")
    found = verdicts(
        invoke("verify", "--runtime", "builtin", "--runtime", "builtin@pi", "--runtime", "tflm@pi", "--json")
    )
    assert found == dict.fromkeys(("builtin", "builtin@pi", "tflm@pi"), ("exact", found["builtin"][1]))
    result = invoke("diff", "--layers", "--runtime", "reference", "--runtime", "reference@pi", "--json")
    assert result.exit_code == 0, result.output
    assert {c["candidate"]: c["differing"] for c in json.loads(result.stdout)["comparisons"]} == {
        "tflite:reference": 0,
        "tflite:reference@pi": 0,
    }


@pytest.mark.usefixtures("configured")
def test_an_ssh_that_is_refused_is_one_line_and_the_others_report() -> None:
    configure(shut="ssh -F none -p 1 -o BatchMode=yes 127.0.0.1 true")
    result = invoke("diff", "--runtime", "builtin@shut", "--runtime", "reference", "--json")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: builtin@shut")
    assert ": no worker came (exit status 255: " in result.stderr
    assert result.stderr.count("\n") == 1
    assert [c["candidate"] for c in json.loads(result.stdout)["comparisons"]] == ["tflite:reference"]


@pytest.mark.usefixtures("configured")
def test_a_worker_that_vanishes_in_mid_run_is_one_line_and_the_others_report() -> None:
    configure(
        frail=f"sh -c {shlex.quote(f'dd bs=1 count=7500 status=none | {HERE}')}"
    )  # the line goes down behind the model
    result = invoke("diff", "--runtime", "builtin@frail", "--runtime", "reference", "--timeout", "20", "--json")
    assert result.exit_code == 2
    # It is both models; whether the worker ends by itself or is ended decides its exit status, which may then be two.
    (said,) = {line.partition("; ")[0].partition(" (")[0] for line in result.stderr.splitlines()}
    assert said == "error: builtin@frail on model.tflite crashed"
    assert [c["candidate"] for c in json.loads(result.stdout)["comparisons"]] == ["tflite:reference"]


@pytest.mark.usefixtures("configured")
def test_nothing_of_the_configuration_starts_unless_it_is_named() -> None:
    configure(trap="touch started", near=HERE)
    assert "builtin@trap" not in chosen("all")
    assert CliRunner().invoke(main, ["runtimes"]).exit_code == 0
    listed = json.loads(CliRunner().invoke(main, ["runtimes", "--json"]).stdout)["engines"]
    assert {each["name"] for each in listed if each["kind"] == "worker"} == {"NAME@trap", "NAME@near"}
    assert any(each["reached"].startswith("touch started (") for each in listed)
    assert invoke("verify", "--runtime", "all").exit_code == 0
    assert entry_of("builtin@trap").command == ("touch", "started")
    assert not Path("started").exists()
    assert invoke("verify", "--runtime", "builtin@trap").exit_code == 2
    assert Path("started").exists()


def test_one_child_takes_model_after_model(configured: Path) -> None:
    with RuntimeProcess("reference@near") as process:
        process.load(models.save(configured, models.add(), "one.tflite"))
        child = process.talk.process.child.pid
        process.load(models.save(configured, models.add(), "two.tflite"))
        outputs, _ = process.run([FOUR, FOUR], 1, print)
        assert outputs[0].tolist() == [[6] * 4] * 2
        assert process.talk.process.child.pid == child
        with pytest.raises(RuntimeCrashed, match=r"reference@near on bad.tflite crashed \(SIGABRT"):
            process.load(models.save(configured, models.ABORTS, "bad.tflite"))
        process.load(models.save(configured, models.add(), "good.tflite"))
        assert process.run([FOUR, FOUR], 1, print)[0][0].tolist() == [[6] * 4] * 2


def test_what_native_code_prints_is_no_message(configured: Path) -> None:
    with RuntimeProcess("xnnpack@near") as process, pytest.raises(Exception, match="Bamboozle"):
        process.load(models.save(configured, models.custom()))


def test_a_worker_that_hangs_ends_with_the_stream(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere nobody can kill it: our ssh ends, and its streams with it."""
    with RuntimeProcess("reference@near") as process:
        process.load(models.save(configured, models.hangs(), "loop.tflite"), batch=False)
        channel = process.talk.process.channel
        assert isinstance(channel, InStream)

        def hang_up() -> None:
            with socket.socket(fileno=os.dup(channel._reads)) as end:
                end.shutdown(socket.SHUT_RDWR)

        kill, process.timeout = process.talk.process.kill, 0.2
        monkeypatch.setattr(process.talk.process, "kill", hang_up)
        with pytest.raises(RuntimeHung):
            process.run([np.ones((2, 4), np.float32)], 1, print)
        monkeypatch.setattr(process.talk.process, "kill", kill)
        assert process.talk.process.child.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("echo Welcome to the pi", "its command answers as no worker does: 'Welcome to the pi'"),
        (
            """echo '{"result": "ready", "protocol": 99, "sizes": []}'""",
            "speaks protocol 99, this quantdiff 1; install",
        ),
        ("""echo '{"result": "ready", "sizes": []}'""", "speaks protocol another one"),
        (f"""echo '{{"sizes": [{LARGEST}, 1]}}'""", f"as no worker does: arrays of {LARGEST + 1:,} bytes"),
        ("""echo '{"sizes": [-1]}'""", "as no worker does"),
        ("""echo '[]'""", "as no worker does"),
        ("true", "no worker came (exit status 0); check its command by hand"),
        (
            "sh -c 'echo No module named quantdiff >&2; exit 1'",
            "no worker came (exit status 1: No module named quantdiff)",
        ),
    ],
)
@pytest.mark.usefixtures("configured")
def test_what_is_no_worker_is_one_line(command: str, message: str) -> None:
    configure(odd=command)
    with RuntimeProcess("builtin@odd") as process, pytest.raises((NoWorker, RuntimeUnavailable)) as error:
        process.machine  # noqa: B018 (it asks)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


HELLO = '{"result": "ready", "protocol": 1, "machine": "x86_64", "confined": {}, "versions": {}, "sizes": []}'


@pytest.mark.parametrize(
    "answers",
    [
        ["{}"],
        ['{"delegated": 1}'],
        ['{"delegated": []}', "{}"],
        ['{"delegated": []}', '{"result": "single", "pieces": []}'],
        ['{"delegated": []}', '{"result": "single", "pieces": [[0, 0, [2, 4], "|i1"]]}'],
        ['{"delegated": []}', '{"done": "much", "result": "single", "pieces": [[0, 0, [-1], "|O"]]}'],
    ],
)
def test_an_answer_that_is_none_is_one_line(configured: Path, answers: list[str]) -> None:
    said = [HELLO, *(f'{{"sizes": [], {each[1:]}' if each != "{}" else '{"sizes": []}' for each in answers)]
    (configured / "said").write_text("\n".join([*said, ""]))
    configure(odd="sh -c 'cat said; cat > /dev/null'")
    result = invoke("diff", "--runtime", "reference@odd")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "gave an answer that is none" in result.stderr


@pytest.mark.usefixtures("configured")
def test_a_command_that_is_not_there_is_one_line() -> None:
    configure(none="no-such-command")
    result = invoke("verify", "--runtime", "builtin@none")
    assert result.exit_code == 2
    assert result.stderr == "error: no-such-command: cannot be started (No such file or directory); check the command\n"
    result = invoke("verify", "--runtime", "builtin@else")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "no worker 'else' (there are none); name its command in quantdiff.toml" in result.stderr


@pytest.mark.usefixtures("configured")
def test_arithmetic_on_paper_goes_by_the_architecture_that_the_worker_names() -> None:
    result = invoke("work", "--runtime", "builtin@near", "--op", "0", "--element", "0,0,0,0,0")
    assert result.exit_code == 0, result.output
    assert "the builtin@near runtime gave" in result.stdout
    with pytest.raises(NotSimulated, match="its worker alone knows its architecture"):
        rules_of("builtin@near")


def test_the_nearest_file_counts_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    (tmp_path / "quantdiff.toml").write_text('[runtimes.far]\ncommand = ["ssh", "far host"]\n')
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.other]\n")
    assert workers()["far"].command == ("ssh", "far host")
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.quantdiff.runtimes.pi]\ncommand = 'ssh pi'\n")
    assert [(each.name, each.source) for each in workers().values()] == [("pi", f"{tmp_path}/a/pyproject.toml")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runtimes = 1", "'runtimes' is no table"),
        ("[runtimes.pi]\ncommand = 1", "runtimes.pi wants one thing, command = "),
        ("[runtimes.pi]\ncommand = ''", "runtimes.pi wants one thing"),
        ('[runtimes.pi]\ncommand = "ssh \'pi"', "runtimes.pi wants one thing"),
        ("[runtimes.pi]\ncommand = 'ssh'\nshell = true", "runtimes.pi wants one thing"),
        ("[runtimes.arm64]\ncommand = 'ssh pi'", "no worker can be called arm64, which is an architecture"),
        ("[runtimes", "cannot be read as TOML"),
        ("a = " + "[" * 5000, "cannot be read as TOML"),
    ],
)
def test_a_configuration_that_is_none_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quantdiff.toml").write_text(text)
    with pytest.raises(BadConfiguration) as error:
        entry_of("builtin@pi")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_configuration_that_waits_for_ever_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("quantdiff.toml")
    with pytest.raises(BadConfiguration, match="is a FIFO, not a file"):
        entry_of("builtin@pi")


def test_an_unknown_machine_is_a_doubt_and_no_guess_without_a_word(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del configured
    monkeypatch.setattr(RuntimeProcess, "machine", "riscv64")
    found = json.loads(invoke("verify", "--runtime", "builtin@near", "--json").stdout)["runtimes"]["builtin@near"]
    assert "riscv64" in found["doubt"] + found["why"]


def test_arrays_travel_in_the_stream_and_sizes_are_checked_first() -> None:
    left, right = (end.detach() for end in socket.socketpair())
    ours, theirs = InStream(left), InStream(right, os.dup(right))
    parcel = Parcel(shares=False)
    arrays = [np.arange(1000, dtype=np.int16).reshape(10, -1), np.array([[1.5, np.nan]])]
    ours.send({"pieces": parcel.pack(arrays)}, [block.descriptor for block in parcel.blocks])
    message, descriptors = theirs.receive(5)
    block = mapped(descriptors[0])
    for (_, offset, shape, dtype), array in zip(message["pieces"], arrays, strict=True):
        assert np.array_equal(block.at(offset, shape, dtype), array, equal_nan=array.dtype.kind == "f")
    with pytest.raises(TypeError):
        block.at(0, (1,), "O")
    with pytest.raises(TimeoutError):
        theirs.receive(0.01)
    large = block_of(bytes(2**20))
    with pytest.raises(TimeoutError):  # a socket takes less, and nobody reads
        ours.send({}, [large.descriptor], 0.05)
    for channel in (ours, theirs):
        channel.close()
