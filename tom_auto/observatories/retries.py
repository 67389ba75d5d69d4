"""Which requests are made again, and when."""

from time import monotonic

from urllib3.exceptions import InvalidHeader, MaxRetryError
from urllib3.response import BaseHTTPResponse
from urllib3.util import Retry

from ..conf import Automation
from ..explain import certificate_fault

PASSING = {429, 500, 502, 503, 504}  # statuses that may be other in a moment


def retries_within(limits: Automation, deadline: float) -> Retry:
    """Those of requests that change nothing; none after `deadline`, in the seconds of `monotonic()`."""

    class WithinLimits(Retry):
        """Gives up at once where a retry cannot succeed, or the wait would be too long."""

        def increment(self, *args: object, **options: object) -> Retry:
            following = super().increment(*args, **options)
            if certificate_fault(error := options.get('error')):
                raise MaxRetryError(None, '', error) from error
            response = options.get('response')
            asked = self.get_retry_after(response) if response is not None else None
            wait = asked or following.get_backoff_time()
            if monotonic() + wait > deadline or (asked or 0) > limits.RETRY_AFTER_MAX:
                # To be asked later and to ask sooner is rude: the next run will do.
                raise MaxRetryError(None, '', f'{wait:.0f} s are too long to wait')
            return following

        def get_backoff_time(self) -> float:
            # urllib3's own has the first repetition follow at once.
            return min(self.backoff_max, self.backoff_factor * 2 ** (len(self.history) - 1))

        def _is_read_error(self, error: Exception) -> bool:
            # urllib3 sends anything again after a fault of TLS, also what the server has received.
            return not self._is_connection_error(error)

        def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
            try:
                return super().get_retry_after(response)
            except (InvalidHeader, ValueError, OverflowError):
                return None  # nonsense is as good as nothing said

    return WithinLimits(
        total=limits.RETRIES,
        redirect=False,  # requests follows redirects itself, and takes the token off them
        status_forcelist=PASSING,
        allowed_methods={'GET', 'HEAD'},
        backoff_factor=limits.RETRY_WAIT,
        retry_after_max=10**9,  # the limit is above: urllib3's own would come back too early
        raise_on_status=False,
    )
