"""The process that scores, when an upload hangs it or takes it along."""

import os
import signal
import threading

import pytest

from steps.serving.refused import Refused
from steps.serving.worker import Settings, Worker
from tests.steps.serving.light import prepare
from utils.cli import UserError


@pytest.fixture
def begin():
    begun = []

    def worker(model):
        begun.append(Worker(Settings({"model": model}, max_seconds=60.0, timeout=30.0), prepare))
        return begun[-1]

    yield worker
    for one in begun:
        one.close()


def refused_by(worker, data=b"abc"):
    with pytest.raises(Refused) as refused:
        worker.judge(data, False)
    return refused.value.status, refused.value.detail


def test_it_is_begun_anew_and_the_next_upload_is_scored(begin, capfd):
    worker = begin("any")
    scored = {"length": 3, "pictures": True, "core": (0, 0)}  # what crashes leaves no file
    assert worker.model() == {"model": "light"} and worker.judge(b"abc", True) == scored
    seen = [worker._process.pid]

    def still_works(a_new_one):
        assert worker.judge(b"abc", True) == scored
        assert (worker._process.pid not in seen) == a_new_one
        seen.append(worker._process.pid)

    os.kill(seen[-1], signal.SIGSTOP)  # it hangs, and then crashes
    threading.Timer(0.3, os.kill, (seen[-1], signal.SIGKILL)).start()
    status, detail = refused_by(worker)
    assert status == 422 and "broke the decoder" in detail
    still_works(True)

    os.kill(seen[-1], signal.SIGSTOP)  # it hangs
    worker.timeout = 0.2
    status, detail = refused_by(worker)
    assert status == 504 and "within 0.2 s" in detail
    worker.timeout = 30.0
    still_works(True)

    os.kill(seen[-1], signal.SIGKILL)  # it crashes while nobody asks
    worker._process.join()
    still_works(True)

    status, detail = refused_by(worker, b"fails")
    assert status == 500 and "ZeroDivisionError: on purpose" in capfd.readouterr().err
    still_works(False)
    status, detail = refused_by(worker, b"grows")
    assert status == 422 and "more memory" in detail
    still_works(False)

    os.kill(seen[-1], signal.SIGSTOP)
    threading.Timer(0.2, worker.close).start()
    for _ in range(2):  # the upload that was being scored, and one after it
        assert refused_by(worker) == (503, "The server is being stopped.")
    assert "started again" not in capfd.readouterr().err


@pytest.mark.parametrize("model, words", [("lost", "no final.pt in it"), ("none", "ended while it loaded")])
def test_a_model_that_cannot_be_loaded(begin, model, words):
    with pytest.raises(UserError, match=words):
        begin(model).model()
