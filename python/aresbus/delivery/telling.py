"""What a subscriber is told besides its events.

Owns the call of its message handler. Knows no log. Invariants: a failure is its own, reported, and changes nothing; a
message whose handler was cancelled counts as not told.
"""

import asyncio

from aresbus.delivery.attempts import is_cancelled
from aresbus.subscriptions import Subscription
from aresbus.troubles import Troubles, described

__all__ = ["tell"]


async def tell(subscription: Subscription, troubles: Troubles) -> None:
    """Give the subscriber its messages, in the order in which they came."""
    on_message = subscription.terms.on_message
    while subscription.pending_messages:
        message = subscription.pending_messages[0]
        try:
            result = on_message(message) if on_message is not None else None
            if result is not None and hasattr(type(result), "__await__"):
                await result
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            text = f"{subscription.name} failed on the message {message!r}: {described(error)}"
            troubles.report(f"message {subscription.name}", text, error)
        if subscription.pending_messages[:1] == [message]:
            del subscription.pending_messages[0]
