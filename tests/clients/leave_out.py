"""What schemathesis takes for bad input and the gateway does not, on purpose."""

import schemathesis


@schemathesis.hook
def filter_body(_context, body):
    """Leaves out the empty array: it passes for an object without members, which is how PHP writes one."""
    return body != []
