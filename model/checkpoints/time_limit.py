"""How long the Hugging Face hub may stay silent."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import constants, get_session

MORE_TIME = "HF_HUB_ETAG_TIMEOUT=60 in the environment lets a slow network or proxy take a minute to answer"


@contextmanager
def limit_silence() -> Iterator[None]:
    """Let requests to the hub that have no time limit of their own end in one: `HF_HUB_ETAG_TIMEOUT` seconds.

    The hub's library limits downloads by its settings, and waits for ever for the list of what to download.
    Its client, and whatever proxies or hooks the user gave it, stay as they are.
    """
    limit = constants.HF_HUB_ETAG_TIMEOUT

    def set_limit(request: Any) -> None:
        limits = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {part: limit if own is None else own for part, own in limits.items()}

    # All threads share the client, so what is taken away afterwards is this hook, whichever others came.
    hooks = get_session().event_hooks["request"]
    hooks.append(set_limit)
    try:
        yield
    finally:
        hooks.remove(set_limit)


def is_timeout(error: BaseException) -> bool:
    """Return whether the hub's library gave up because nobody answered.

    Which HTTP library it uses changes with its version, so the error is known by its name.
    """
    return type(error.__cause__ or error).__name__.endswith("Timeout")
