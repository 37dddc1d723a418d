"""Runs scripts in pages in headless Chromium, if it is installed, and returns their results."""

import html
import json
import re
import shutil
import subprocess
import tempfile

import pytest

COMMAND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
OPTIONS = [
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
    ),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-quic", "--virtual-time-budget=3000"),
]
# Collects problems, starting before the page's own script runs.
LISTENERS = """<script>
const problems = [];
console.error = console.warn = (...parts) => problems.push(parts.join(" "));
addEventListener("error", (event) => problems.push(event.message));
addEventListener("securitypolicyviolation", (event) => problems.push(event.blockedURI));
</script>"""
ANSWER = """<script>
const answer = (() => { SCRIPT })();
const requests = performance.getEntriesByType("resource").map(({ name }) => name);
parent.postMessage(JSON.stringify({ answer, problems, requests }), "*");
</script>"""
# A frame can be as narrow as a phone, but a window cannot.
FRAME = """<pre id="result"></pre>
<script>onmessage = ({ data }) => document.getElementById("result").textContent = data;</script>
<iframe src="asked.html" style="width: WIDTHpx; height: 900px; border: 0"></iframe>"""


def ask(page, script, width=1280, dark=False):
    """The result of a script that runs in the page, at this width.

    The page must log no errors or warnings, and request nothing from the network.
    """
    if COMMAND is None:
        pytest.skip("no Chromium is installed")
    text = page.read_text(encoding="utf-8").replace("<head>", "<head>" + LISTENERS, 1)
    head, _, tail = text.rpartition("</body>")
    asked = head + ANSWER.replace("SCRIPT", script) + "</body>" + tail
    page.with_name("asked.html").write_text(asked, encoding="utf-8")
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                COMMAND,
                *OPTIONS,
                f"--user-data-dir={profile}",
                "--window-size=1400,1000",
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                "--dump-dom",
                frame.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    result = json.loads(html.unescape(found[1]))
    assert result["problems"] == []
    assert result["requests"] == []
    return result["answer"]
