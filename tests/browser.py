"""A page in headless Chromium, driven over the pipe of its debugging protocol: it waits for what takes real time."""

import contextlib
import json
import os
import shutil
import subprocess

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--remote-debugging-pipe",
    "--disable-background-networking", "--disable-component-update", "--window-size=400,800",
)  # fmt: skip


class Page:
    """An open page.

    Attributes:
      said: what it wrote to the console, and the exceptions that nothing caught.
    """

    def __init__(self, commands, answers):
        self._commands, self._answers = commands, answers
        self._number, self._session, self.said = 0, None, []

    def open(self, url):
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Page"):
            self.send(f"{domain}.enable")
        self.send("Page.navigate", url=url)
        self.run("new Promise(done => document.readyState == 'complete' ? done() : addEventListener('load', done))")

    def send(self, method, **parameters):
        """One command; returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while (answer := self._read()).get("id") != self._number:
            if answer.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                self.said.append(answer["params"])
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self):
        text = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser has ended"
            text += byte
        return json.loads(text)

    def run(self, expression):
        """The value of a JavaScript expression, once its promise is kept."""
        found = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")


@contextlib.contextmanager
def page(url, profile):
    """Opens `url`; the test is skipped where there is no browser.

    Args:
      url: such as file:///tmp/index.html.
      profile: a folder for the browser's own files.
    """
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    command = [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}"]
    # The protocol is spoken on the descriptors 3 and 4.
    shell = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command]
    with (
        subprocess.Popen(shell, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL) as process,
        open(ours_out, "wb") as commands,
        open(ours_in, "rb") as answers,
    ):
        os.close(theirs_in)
        os.close(theirs_out)
        found = Page(commands, answers)
        try:
            found.open(url)
            yield found
        finally:
            process.kill()
