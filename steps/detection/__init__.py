"""From recordings to verdicts: a trained detector applied to audio of any kind. detector.FakeSpeechDetector is the way in.

It is not imported here, because it takes torch along, which a program may want to load later.
"""
