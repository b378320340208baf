"""From recordings to verdicts: a trained detector, by PyTorch or ONNX, applied to audio of any kind.

`detector.FakeSpeechDetector` is the way in. It is not imported here, because it loads torch, which a program may want
to load later.
"""
