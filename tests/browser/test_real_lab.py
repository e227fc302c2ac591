"""What counts as an error in the log of a server."""

import logging

import pytest
from real_lab import raised


def logged(*errors):
    """What a log says of the last of `errors`, each raised while the one before was handled, as Python writes it."""
    handled = None
    for error in errors:
        try:
            raise error.with_traceback(None) from handled
        except type(error) as caught:
            handled = caught
    info = type(handled), handled, handled.__traceback__
    record = logging.LogRecord("ServerApp", logging.ERROR, __file__, 1, "in a handler", None, info)
    return "[I ServerApp] before\n" + logging.Formatter("[E %(name)s] %(message)s").format(record) + "\n[I ServerApp] after\n"


@pytest.fixture(scope="module")
def gone():
    websocket, iostream = pytest.importorskip("tornado.websocket"), pytest.importorskip("tornado.iostream")
    return logged(iostream.StreamClosedError(), websocket.WebSocketClosedError())


def test_a_page_that_is_gone_is_none(gone):
    assert raised(gone) == [] == raised("[I ServerApp] Serving\n")


def test_all_else_is(gone):
    log = gone + logged(ValueError("two\nlines")) + gone + logged(OSError("its cause"), KeyError("name"))
    ends = [found.splitlines()[-1] for found in raised(log)]
    assert ends == ["ValueError: two", "OSError: its cause", "KeyError: 'name'"]
