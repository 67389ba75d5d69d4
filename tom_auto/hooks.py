"""The hooks of a TOM: which of them are its own, and how they are called."""

from django.conf import settings
from tom_common.hooks import run_hook

from .explain import hook_failed

PLAIN = 'tom_common.hooks', 'tom_dataproducts.hooks'


def is_plain(*hooks: str) -> bool:
    """Whether these hooks are those that tomtoolkit brings, which log their call and change nothing."""
    return all(
        (settings.HOOKS.get(hook) or '').rpartition('.')[0] in ('', *PLAIN) for hook in hooks
    )


def run_own_hook(hook: str, *arguments: object) -> None:
    """Call a hook of this TOM. Raises HookFailed where it raises, or would have the process exit."""
    try:
        run_hook(hook, *arguments)
    except (Exception, SystemExit) as error:
        raise hook_failed(hook, error) from error
