"""A real ``sshd`` on 127.0.0.1 with a key and a port of its own, from Debian's package where none is installed."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("openssh-server", "libwrap0")
OPTIONS = ("IdentitiesOnly=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes")
SSHD_USER = "sshd:x:22:22::/run/sshd:/usr/sbin/nologin\n"


class NoServer(Exception):
    """It cannot be had here, and why."""


def _sshd(folder: Path) -> tuple[str, str]:
    """The program, and where its libraries are."""
    found = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if found:
        return found, ""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise NoServer("no sshd here, and no Debian package of it")
    fetched = subprocess.run(
        ["apt-get", "download", *PACKAGES], cwd=folder, capture_output=True, timeout=120, check=False
    )
    if fetched.returncode:
        raise NoServer("no sshd here, and its Debian package cannot be fetched")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder / "root"], check=True)
    libraries = {str(each.parent) for each in (folder / "root").rglob("lib*.so*")}
    return str(folder / "root/usr/sbin/sshd"), ":".join(libraries)


@contextmanager
def ssh_server(folder: Path) -> Iterator[str]:
    """The command that reaches it, up to the host: ``ssh -p … 127.0.0.1``.

    Raises:
        NoServer: it cannot be had here.
    """
    if not shutil.which("ssh") or not shutil.which("ssh-keygen"):
        raise NoServer("no ssh here")
    program, libraries = _sshd(folder)
    for name in ("host", "me"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/me.pub\n"
        "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
    )
    words = [program, "-D", "-e", "-f", str(folder / "config")]
    if os.geteuid() == 0:  # it wants a user and a folder of its own then: in a view of the files that is its alone
        (folder / "passwd").write_text(Path("/etc/passwd").read_text() + SSHD_USER)
        views = f"mount --bind {folder}/passwd /etc/passwd && mount -t tmpfs none /run && mkdir -m 755 /run/sshd"
        words = ["unshare", "-m", "sh", "-c", f"{views} && exec {shlex.join(words)}"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(words, stderr=log, env={**os.environ, "LD_LIBRARY_PATH": libraries})
    try:
        _wait(server, port, folder / "log")
        options = [f"-o{each}" for each in (*OPTIONS, "LogLevel=ERROR")]
        yield shlex.join(["ssh", "-F", "none", "-p", str(port), "-i", str(folder / "me"), *options, "127.0.0.1"])
    finally:
        server.terminate()
        server.wait()


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(200):
        if server.poll() is not None:
            raise NoServer(f"sshd does not start: {log.read_text()[-200:]}")
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise NoServer("sshd does not listen")
