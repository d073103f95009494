import socket
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from huggingface_hub import close_session, constants, get_session

from model.checkpoints.hub import resolve_checkpoint
from model.checkpoints.time_limit import is_timeout, limit_silence
from model.errors import CheckpointError


@pytest.fixture
def limit(monkeypatch):
    """The user's limit, in seconds."""
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.05)
    return constants.HF_HUB_ETAG_TIMEOUT


@pytest.fixture
def silent_hub(monkeypatch, limit):
    """A hub that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        close_session()
        yield server
    close_session()


def test_a_hub_that_never_answers_is_one_line_with_the_cure(silent_hub, tmp_path):
    with pytest.raises(CheckpointError, match=r"'org/name', and the .* hub did not provide it") as caught:
        resolve_checkpoint("org/name", cache_dir=str(tmp_path))
    assert "HF_HUB_ETAG_TIMEOUT=60" in str(caught.value)
    assert "\n" not in str(caught.value)


def limited(timeout):
    """Return the limits of a request after the client's hooks, the library's own excepted, have seen it."""
    request = SimpleNamespace(extensions={"timeout": timeout})
    for hook in get_session().event_hooks["request"][1:]:
        hook(request)
    return request.extensions["timeout"]


def test_only_what_has_no_limit_gets_one(limit):
    own = {"connect": 3, "read": None, "write": 7.5, "pool": None}
    with limit_silence():
        assert limited(own) == {"connect": 3, "read": limit, "write": 7.5, "pool": limit}
    assert limited(own) == own


def test_the_client_is_left_as_it_was_whoever_ends_first(limit):
    before = list(get_session().event_hooks["request"])
    first, second = ExitStack(), ExitStack()
    first.enter_context(limit_silence())
    second.enter_context(limit_silence())
    first.close()
    assert limited({"read": None}) == {"read": limit}
    second.close()
    assert get_session().event_hooks["request"] == before


def test_a_timeout_is_known_by_itself_and_as_a_cause():
    timeout = type("ReadTimeout", (Exception,), {})()
    error = OSError("not found")
    assert not is_timeout(error)
    assert is_timeout(timeout)
    error.__cause__ = timeout
    assert is_timeout(error)
