"""The API and its limits, in this process."""

import asyncio
import base64
import contextlib
import dataclasses
import io
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from PIL import Image

from steps.frontend.processing.band import BandLimits
from steps.inference.detector import FakeSpeechDetector
from steps.inference.frame_track import write_frame_threshold
from steps.serving import verdicts
from steps.serving.answers import Verdict
from steps.serving.app import make_app
from steps.serving.intake import Intake, Limits
from steps.serving.refused import Refused, time_words
from tests.conftest import ROOT, speech_like
from tests.in_process import call
from tests.steps.inference.conftest import save_training
from tests.steps.serving.conftest import Here
from tests.steps.test_locate import save_training as save_frames_training
from utils import audio

RATE = 16000
LIMITS = Limits(max_mib=2.0, max_seconds=60.0, timeout=20.0, max_waiting=8)


def sound_of(samples, rate=RATE, form="WAV", subtype=None):
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form, subtype=subtype)
    return out.getvalue()


@pytest.fixture(scope="module")
def client(detector):
    app = make_app(Here(detector, LIMITS.max_seconds), LIMITS, ["lab.example"])
    with TestClient(app, base_url="http://127.0.0.1:8765") as made:
        yield made


def ask(client, data, **options):
    return client.post("/api/verdict", content=data, **options)


def test_the_answer_is_the_detectors(client, detector, tmp_path):
    data = sound_of(speech_like(5 * RATE, 1), form="FLAC")
    (tmp_path / "a.flac").write_bytes(data)
    (result,) = detector.score_file(tmp_path / "a.flac")
    said = ask(client, data).json()
    assert Verdict.model_validate(said, strict=True).model_dump() == said  # as the document says
    assert (said["score"], said["llr"], said["verdict"]) == (result.score, result.llr, result.verdict)
    assert [one["score"] for one in said["windows"]] == [one.score for one in result.windows]
    assert [one["begin"] for one in said["lowest"]] == [one.begin for one in result.lowest()]
    assert said["seconds"] == 5.0 and said["threshold"] == said["bonafide_above"] == 0.0
    start = {"bonafide": "Bona fide, ", "partial": "Partly spoof, ", "spoof": "Spoof, "}[result.verdict]
    assert (
        said["headline"] == start + result.below_in_words and result.below_in_words in said["below_threshold"].values()
    )
    assert "mini corpus 1 (tiny)" in said["caution"]


def test_spoofed_stretches_come_with_the_threshold_of_frames(client, tmp_path):
    data = sound_of(speech_like(5 * RATE, 1))
    said = ask(client, data).json()
    assert said["spoofed_stretches"] is said["frame_threshold"] is None  # this detector scores no frames
    exp = save_frames_training(tmp_path / "exp", frames="last")
    (result,) = FakeSpeechDetector.load(exp).score(speech_like(5 * RATE, 1), RATE)
    limit = float(np.median(result.track))
    write_frame_threshold(exp, limit, "data/dev")
    said = verdicts.judge(FakeSpeechDetector.load(exp), data, 60.0, pictures=False)
    assert Verdict.model_validate(said, strict=True).model_dump() == said
    assert said["frame_threshold"] == limit and said["spoofed_stretches"]
    assert all(0 <= one["begin"] < one["end"] <= 5 and one["score"] <= limit for one in said["spoofed_stretches"])


def test_pictures(client):
    data = sound_of(speech_like(5 * RATE, 2))
    said = ask(client, data).json()
    spectrogram = Image.open(io.BytesIO(base64.b64decode(said["spectrogram"]["png"])))
    assert spectrogram.height == 257 and 450 < spectrogram.width <= 1200
    seen = said["looked_at"]
    highest = max(said["windows"], key=lambda one: one["score"])
    assert {one["stretch"]["begin"] for one in seen} == {one["begin"] for one in [*said["lowest"], highest]}
    for one in seen:
        image = Image.open(io.BytesIO(base64.b64decode(one["picture"]["png"])))
        assert image.size == (64, 45) and "speaks for" in one["picture"]["says"]
    plain = ask(client, data, params={"pictures": "false"}).json()
    assert plain["spectrogram"] is None and plain["looked_at"] == []
    assert plain["score"] == said["score"]


def test_evidence_shows_a_recordings_own_frames_and_sums_to_its_score(detector):
    """The deepest map's mean is the score; of a window shorter than the network's input only its own frames are
    told."""
    for samples, own in ((speech_like(3 * RATE, 5), 64), (speech_like(RATE // 4, 5), None)):
        (result,) = detector.score(samples, RATE)
        seen, *_ = detector.evidence(audio.of_waveform("x", samples, RATE), result.windows[:1])
        assert seen.window == result.windows[0] and seen.features.shape == seen.places.shape
        assert seen.features.shape[0] == (own or pytest.approx(31, abs=2))
        if own:
            assert seen.places.mean() == pytest.approx(seen.window.score, abs=0.05 + 0.05 * abs(seen.window.score))
    assert detector.evidence(audio.of_waveform("x", samples, RATE), []) == []


def truncated():
    return sound_of(speech_like(2 * RATE))[:-RATE]


def unheard_of_rate():
    return sound_of(np.zeros(3), 999)


def three_hours():
    return sound_of(np.zeros(3 * 3600 * 1000), 1000, "FLAC")


@pytest.mark.parametrize(
    "make, status, words",
    [
        (lambda: b"", 422, "empty: no bytes"),
        (lambda: b"What I wanted to say. " * 200, 415, "no sound that can be read here. Readable: wav, flac"),
        (lambda: sound_of(speech_like(RATE))[:30], 422, "Truncated: it has no chunk of samples"),
        (lambda: sound_of(np.zeros(0)), 422, "Empty: no samples"),
        (truncated, 422, "Truncated"),
        (lambda: sound_of(np.zeros(RATE)), 422, "Only silence"),
        (lambda: sound_of(np.full(RATE, np.nan), subtype="FLOAT"), 422, "NaN"),
        (unheard_of_rate, 422, "sampling rate is 999 Hz"),
        (three_hours, 422, "3 h long; recordings of up to 1 min are taken"),
        (lambda: bytes(3 << 20), 413, "larger than 2 MiB"),
    ],
    ids=["empty", "text", "header_only", "no_samples", "truncated", "silent", "nan", "rate", "three_hours", "huge"],
)
def test_what_cannot_be_scored(client, make, status, words):
    answer = ask(client, make())
    assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status and said["title"] and words in said["detail"]
    assert "/proc" not in said["detail"] and "the recording:" not in said["detail"]
    assert ask(client, sound_of(speech_like(RATE)), params={"pictures": "false"}).status_code == 200  # it lives on


def test_sound_whose_header_tells_no_length_is_cut_off_too(monkeypatch):
    read = []

    @contextlib.contextmanager
    def endless(path, where):
        def blocks():
            while True:
                read.append(1)
                yield np.zeros((RATE, 1))

        yield audio.Recording(where, RATE, 1, blocks())

    monkeypatch.setattr(audio, "open_recording", endless)
    with verdicts._opened("x", 30.0) as recording, pytest.raises(Refused, match="30 s are taken") as refused:
        list(recording.blocks)
    assert refused.value.status == 422 and len(read) == 31


def test_forms_are_told_what_to_do(client):
    answer = client.post("/api/verdict", files={"file": ("a.wav", sound_of(speech_like(RATE)))})
    assert answer.status_code == 415 and "--data-binary" in answer.json()["detail"]


def test_channels_of_a_call(client, detector, tmp_path):
    sides = np.stack([speech_like(2 * RATE, 1), speech_like(2 * RATE, 2)], 1)
    (tmp_path / "call.wav").write_bytes(sound_of(sides))
    say = lambda channels: ask(client, sound_of(sides), params={"pictures": "false", "channels": channels}).json()
    each = say("each")
    assert [one["channel"] for one in each] == ["0", "1"]
    assert [say(side) for side in (0, 1)] == [
        one | {"notes": [f"2 channels, number {side} scored"]} for side, one in enumerate(each)
    ]
    wanted = detector.on("each").score_file(tmp_path / "call.wav")
    assert [(one["score"], one["verdict"]) for one in each] == [(result.score, result.verdict) for result in wanted]
    assert (
        say("mix") == ask(client, sound_of(sides), params={"pictures": "false"}).json()
        and say("mix")["channel"] == "mixed"
    )
    assert "no channel 2: it has 2, counted from 0" in say(2)["detail"].lower()
    for wrong, why in (("left", "a valid integer, unable to parse"), (-1, "greater than or equal to 0")):
        answer = ask(client, b"x", params={"channels": wrong})
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(f"channels: Input should be 'mix' or 'each', or be {why}"), (
            answer.json()
        )
    (alone,) = ask(client, sound_of(sides[:, 0]), params={"channels": "each"}).json()
    assert alone["channel"] is None and alone["looked_at"]


def test_a_recording_with_a_low_stretch_is_partly_spoof(detector):
    judge = verdicts.judge
    data = sound_of(np.concatenate([speech_like(2 * RATE, seed) for seed in range(4)]))
    scored = judge(detector, data, 60.0, False)
    threshold = (min(one["llr"] for one in scored["windows"]) + scored["llr"]) / 2
    strict = detector.on("mix")
    strict.decision = dataclasses.replace(detector.decision, threshold=threshold, bonafide_above=threshold)
    said = judge(strict, data, 60.0)
    words = said["below_threshold"]["in_words"]
    assert (
        said["verdict"] == "partial"
        and said["headline"] == f"Partly spoof, {words}"
        and "times as likely" not in said["explanation"]
    )
    ranks = [one["stretch"]["score"] for one in said["looked_at"]]
    assert ranks == sorted(ranks) and len(ranks) > 2  # the lowest first, the highest last
    strict._pool = "mean"
    said = judge(strict, data, 60.0, False)
    assert (said["verdict"], said["headline"]) == ("bonafide", f"Bona fide, {words}")
    with strict._frontend() as frontend:
        bands = len(frontend.levels(speech_like(RATE)))
    strict.band = BandLimits(tuple(float(hz) for hz in range(100, 100 + bands)), (99.0,) * bands)
    said = judge(strict, data, 60.0, False)
    assert (said["headline"], said["below_threshold"]) == ("No verdict", None)
    assert {one["below"] for one in said["windows"]} == {None}


def test_without_a_calibration_there_is_a_score(tmp_path):
    bare = Here(FakeSpeechDetector.load(save_training(tmp_path / "seed1")))
    said = bare.judge(sound_of(speech_like(RATE)), False)
    assert (said["verdict"], said["llr"], said["headline"]) == (None, None, "No verdict")
    assert "calibrate.py" in said["explanation"]


@pytest.mark.parametrize(
    "llr, words",
    [(0.01, "about as likely"), (-1.0, "2.7 times as likely for spoofed speech as for bona fide"),
     (4.0, "55 times as likely for bona fide speech"), (99.0, "more than 1000 times")],
)  # fmt: skip
def test_odds_in_words(llr, words):
    assert words in verdicts._odds(llr)


@pytest.mark.parametrize(
    "seconds, words", [(1.25, "1.2 s"), (60, "1 min"), (1800, "30 min"), (90.5, "1:30.5 min"), (10800, "3 h"), (5400, "90 min")]
)  # fmt: skip
def test_times_in_words(seconds, words):
    assert time_words(seconds) == words


async def _chunks(*sizes, pause=0.0):
    for size in sizes:
        await asyncio.sleep(pause)
        yield bytes(size)


def run(coroutine):
    """Run it in a thread of its own: a browser that an earlier test of this process opened keeps a loop in the main
    one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def receive(limits, *sizes, told=None, waits=False, pause=0.0):
    intake = Intake(limits)
    with intake.place() as held:
        run(intake.receive(held, told, waits, _chunks(*sizes, pause=pause)))
        return len(held)


def test_limits_of_an_upload():
    mib = 1 << 20
    limits = Limits(max_mib=1.0, timeout=0.2, max_waiting=2)
    assert receive(limits, mib - 5, 5) == mib
    for case in (
        {"told": mib + 1, "waits": True},  # before anything is sent
        {"told": mib + 1},
        {"told": None},
    ):
        with pytest.raises(Refused) as refused:
            receive(limits, mib, 1, **case)
        assert refused.value.status == 413
    with pytest.raises(Refused, match="0.2 s") as refused:
        receive(limits, *[1] * 9, pause=0.05)
    assert refused.value.status == 408


def test_too_many_and_too_much_at_once():
    mib = 1 << 20
    limits = Limits(max_mib=1.0, max_waiting=9)
    intake = Intake(limits)
    with contextlib.ExitStack() as stack:
        for number in range(8):  # all the memory that there is
            held = stack.enter_context(intake.place())
            run(intake.receive(held, None, False, _chunks(mib)))
            assert number < 8 and len(held) == mib
        with pytest.raises(Refused, match="memory") as refused, intake.place() as held:
            run(intake.receive(held, None, False, _chunks(1)))
        assert refused.value.status == 503
        with intake.place(), pytest.raises(Refused, match="9 uploads wait already"):
            stack.enter_context(intake.place())
    with intake.place() as held:  # all is given back
        run(intake.receive(held, mib, False, _chunks(mib)))
        assert len(held) == mib


@pytest.mark.parametrize(
    "host, taken",
    [("127.0.0.1:8765", True), ("localhost", True), ("[::1]:80", True), ("192.168.1.5:8765", True), ("LAB.example:1", True),
     ("evil.example", False), ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("", False), ("[", False)],
)  # fmt: skip
def test_only_requests_that_name_this_server(client, host, taken):
    answer = client.get("/api/model", headers={"host": host})
    assert answer.status_code == (200 if taken else 403)
    if not taken:
        assert answer.json()["title"] == "Forbidden"


@pytest.mark.parametrize(
    "headers, taken",
    [({}, True), ({"origin": "http://127.0.0.1:8765"}, True), ({"sec-fetch-site": "same-origin"}, True),
     ({"origin": "http://127.0.0.1:9999"}, False), ({"origin": "https://evil.example"}, False), ({"origin": "null"}, False),
     ({"sec-fetch-site": "cross-site"}, False)],
)  # fmt: skip
def test_only_uploads_of_its_own_page_and_of_programs(client, headers, taken):
    assert ask(client, b"", headers=headers).status_code == (422 if taken else 403)


def test_every_answer_forbids_what_is_from_elsewhere(client):
    for path in ("/", "/api/openapi.json", "/api/model", "/static/page.js", "/nowhere"):
        headers = client.get(path).headers
        assert (
            "default-src 'none'" in headers["content-security-policy"]
            and "unsafe" not in headers["content-security-policy"]
        )
        assert headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"
    assert client.get("/nowhere").json()["title"] == "Not Found"
    assert client.get("/api/verdict").status_code == 405 and client.get("/docs").status_code == 404
    files = [*(ROOT / "steps/serving").glob("*.html"), *(ROOT / "steps/serving/static").iterdir()]
    assert len(files) > 6
    for path in files:
        found = set(re.findall(r"https?://[^/'\"{]+", path.read_text()))
        assert found <= {"http://www.w3.org"}, path


def test_the_api_does_as_its_document_says(client):
    """Made-up requests, right and wrong ones: none gets an answer that the document does not tell of, or breaks the
    server."""
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.checks import CHECKS, load_all_checks

    load_all_checks()
    wanted = (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    )
    checks = [check for name in wanted for check in CHECKS.get_by_names([name])]
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", client.app, headers={"host": "localhost"})
    seen = {}
    for method, path, examples in ("POST", "/api/verdict", 15), ("GET", "/api/model", 3):
        answered = seen[path] = set()

        @given(case=schema[path][method].as_strategy())
        @settings(max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        def one(case, answered):
            answer = case.call(headers={"host": "localhost"})
            case.validate_response(answer, checks=checks)
            answered.add(answer.status_code)

        one(answered=answered)
    assert seen["/api/model"] == {200} and seen["/api/verdict"] & {415, 422}


def test_no_file_is_written(detector):
    """Whatever Python opens for writing while an upload is scored."""
    wrote, on = [], [False]

    def hook(event, arguments):
        if on[0] and event == "open" and isinstance(arguments[0], str | bytes):
            mode, flags = arguments[1] or "", arguments[2] or 0
            if set(mode) & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                wrote.append(arguments[0])

    sys.addaudithook(hook)
    client = TestClient(make_app(Here(detector), Limits()), base_url="http://localhost")
    on[0] = True
    try:
        assert ask(client, sound_of(speech_like(40 * RATE))).status_code == 200  # 1.3 MB: some servers spool that
    finally:
        on[0] = False
    assert wrote == []


def program():
    import importlib.util

    spec = importlib.util.spec_from_file_location("serve_program", ROOT / "steps/serve.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_wrong_calls(monkeypatch, tmp_path):
    serve = program()
    done = call(serve.main, "serve.py", "--model", tmp_path, "--max-mib", "0")
    assert done.returncode == 2 and "--max-mib: '0' is not a number above 0" in done.stderr
    done = call(serve.main, "serve.py", "--model", tmp_path / "a.onnx")
    assert done.returncode == 2 and "give the training" in done.stderr
    sock, loopback = serve.listen("127.0.0.1", 0)
    with sock:
        assert loopback
        done = call(serve.main, "serve.py", "--model", tmp_path, "--port", sock.getsockname()[1])
    assert done.returncode == 1 and "cannot listen there" in done.stderr and "--port 0" in done.stderr
    assert not serve.listen("0.0.0.0", 0)[1]
    monkeypatch.setattr(serve, "_NEEDS", ("fastapi", "no_such_module"))
    done = call(serve.main, "serve.py", "--model", tmp_path)
    assert done.returncode == 1 and "needs no_such_module" in done.stderr
    assert "pip install -c constraints.txt -r requirements-serve.txt" in done.stderr
