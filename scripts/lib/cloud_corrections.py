"""Corrects the OpenHands app server 1.11.0 in process mode for tests, through its own configuration hooks.

    OH_SANDBOX_KIND=cloud_corrections.CorrectedSandboxes OH_USER_KIND=cloud_corrections.CorrectedUser

What is corrected, and why:

1. A sandbox's status. The server asks the kernel about the agent-server's process, and only one that is on a CPU at that
   very instant is RUNNING; a healthy one, which waits for requests, is reported as STARTING. Here every live process is
   RUNNING (its /alive is still asked), and a dead one that no one has reaped is MISSING.
2. The user's id. Without accounts it is None, and for None the LLM settings and a sandbox's secrets are a 401. Here it is
   "root", the one id that the server's own lookup accepts.
3. The probe of a sandbox. In a container it goes to host.docker.internal, which seldom is the container itself; here to
   127.0.0.1. A new sandbox may take 180 s instead of 30, and each probe 60 s instead of 5, which a busy machine needs.
4. The port of a sandbox. The server takes the first free one, and the sandbox listens on it only seconds later: sandboxes that are
   made at the same time get the same port, and all but one of them die. Here a port is not given twice within three minutes.
5. A sandbox that is still starting is ERROR, because its agent-server does not respond. Here it is STARTING until it has responded once.
6. The terminals. All sandboxes use one tmux server, which ends with its last session, also while another sandbox opens one. Here each has
   its own.
"""

import os
import time
from dataclasses import fields

import httpx
import psutil
from openhands.app_server.sandbox import process_sandbox_service as process_mode
from openhands.app_server.sandbox.sandbox_models import SandboxStatus
from openhands.app_server.user import auth_user_context as users

STATUS_OF_STATE = {
    psutil.STATUS_STOPPED: SandboxStatus.PAUSED,
    psutil.STATUS_ZOMBIE: SandboxStatus.MISSING,
    psutil.STATUS_DEAD: SandboxStatus.MISSING,
}

# How long a sandbox may take to listen on its port, in seconds.
START = 180

# When each port was given to a sandbox.
_given = {}
# The sandboxes that have responded.
_has_responded = set()


class _Sandboxes(process_mode.ProcessSandboxService):
    def _find_unused_port(self):
        # The search of the server begins behind every port that may still be taken.
        first = self.base_port
        try:
            while True:
                port = super()._find_unused_port()
                if time.monotonic() - _given.get(port, -START) >= START:
                    _given[port] = time.monotonic()
                    return port
                self.base_port = port + 1
        finally:
            self.base_port = first

    async def _start_agent_process(self, sandbox_spec, port, **others):
        env = dict(sandbox_spec.initial_env)
        env["TMUX_TMPDIR"] = os.path.join(env["TMUX_TMPDIR"], str(port))
        os.makedirs(env["TMUX_TMPDIR"], exist_ok=True)
        sandbox_spec = sandbox_spec.model_copy(update={"initial_env": env})
        return await super()._start_agent_process(sandbox_spec=sandbox_spec, port=port, **others)

    async def _process_to_sandbox_info(self, sandbox_id, process_info):
        info = await super()._process_to_sandbox_info(sandbox_id, process_info)
        if info.status is SandboxStatus.RUNNING:
            _has_responded.add(sandbox_id)
        elif info.status is SandboxStatus.ERROR and sandbox_id not in _has_responded:
            info.status = SandboxStatus.STARTING
        return info

    def _get_process_status(self, process_info):
        try:
            state = psutil.Process(process_info.pid).status()
        except psutil.Error:
            return SandboxStatus.MISSING
        return STATUS_OF_STATE.get(state, SandboxStatus.RUNNING)

    async def _wait_for_server_ready(self, port, timeout=START):
        return await super()._wait_for_server_ready(port, timeout)


async def _probe_here(request):
    if request.url.host in ("localhost", "host.docker.internal"):
        request.url = request.url.copy_with(host="127.0.0.1")
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), 60)


class CorrectedSandboxes(process_mode.ProcessSandboxServiceInjector):
    async def inject(self, state, request=None):
        hooks = {"request": [_probe_here]}
        async with httpx.AsyncClient(timeout=15, event_hooks=hooks) as client:
            async for service in super().inject(state, request):
                settings = {field.name: getattr(service, field.name) for field in fields(service)}
                yield _Sandboxes(**(settings | {"httpx_client": client}))


class _User(users.AuthUserContext):
    async def get_user_id(self):
        return "root"


class CorrectedUser(users.AuthUserContextInjector):
    async def inject(self, state, request=None):
        async for context in super().inject(state, request):
            if type(context) is users.AuthUserContext:
                context.__class__ = _User
            yield context
