"""The documented orchestration in Python, for comparison: a script is put into a sandbox that is there, and started in it.

Ends when the script's imports are done: what a run in Python does in the sandbox before its first request. That its packages are
installed there already is in its favour.
"""

import os
import sys
import tempfile

from openhands.workspace import OpenHandsCloudWorkspace

IMPORTS = """
from openhands.sdk import Conversation
from openhands.tools.preset.default import get_default_agent
from openhands.workspace import OpenHandsCloudWorkspace
print("imported")
"""

with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
    script.write(IMPORTS)
    script.flush()
    with OpenHandsCloudWorkspace(
        cloud_api_url=os.environ["OPENHANDS_CLOUD_API_URL"],
        cloud_api_key=os.environ["OPENHANDS_API_KEY"],
        sandbox_id=sys.argv[1],
        keep_alive=True,
    ) as workspace:
        workspace.file_upload(script.name, "/tmp/python-flow/automation.py")
        done = workspace.execute_command(f"{sys.executable} /tmp/python-flow/automation.py; rm -r /tmp/python-flow", timeout=300)
        assert "imported" in done.stdout, done
