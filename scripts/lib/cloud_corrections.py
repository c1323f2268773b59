"""Corrects the OpenHands app server 1.11.0 in process mode for tests, through its own configuration hooks.

    OH_SANDBOX_KIND=cloud_corrections.CorrectedSandboxes OH_USER_KIND=cloud_corrections.CorrectedUser

What is corrected, and why:

1. A sandbox's status. The server asks the kernel about the agent-server's process, and only one that is on a CPU at that
   very instant is RUNNING; a healthy one, which waits for requests, is reported as STARTING. Here every live process is
   RUNNING (its /alive is still asked), and a dead one that no one has reaped is MISSING.
2. The user's id. Without accounts it is None, and for None the LLM settings and a sandbox's secrets are a 401. Here it is
   "root", the one id that the server's own lookup accepts.
3. The probe of a new sandbox. In a container it goes to host.docker.internal, which seldom is the container itself; here to
   127.0.0.1. It may take 180 s instead of 30, which a busy machine needs.
"""

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


class _Sandboxes(process_mode.ProcessSandboxService):
    def _get_process_status(self, process_info):
        try:
            state = psutil.Process(process_info.pid).status()
        except psutil.Error:
            return SandboxStatus.MISSING
        return STATUS_OF_STATE.get(state, SandboxStatus.RUNNING)

    async def _wait_for_server_ready(self, port, timeout=180):
        return await super()._wait_for_server_ready(port, timeout)


async def _probe_here(request):
    if request.url.host in ("localhost", "host.docker.internal"):
        request.url = request.url.copy_with(host="127.0.0.1")


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
