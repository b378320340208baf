import pytest


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Curves take longer to draw than such a training; fixtures of wider scopes, and processes of their own, draw
    them."""
    monkeypatch.setattr("steps.training.loop.plot_curves", lambda *_: None)
