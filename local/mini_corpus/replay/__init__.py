"""The acoustics of a replay (physical access, PA) corpus, simulated as that of ASVspoof 2019 PA was.

rooms.py draws rooms and places in them and makes impulse responses; devices.py draws loudspeakers and plays by them;
present.py presents bona fide speech and replays of it to the verifier's microphone; measure.py measures what the others
claim: reverberation time, direct-to-reverberant ratio, bands, distortion.

The letters are ASVspoof 2019's. An environment has three: room size, T60, talker-to-ASV distance, each a to c. An
attack has two: attacker-to-talker distance and device quality, each A to C. Source of the letters: Wang et al.,
"ASVspoof 2019: a large-scale public database of synthesized, converted and replayed speech", Computer Speech & Language
64, 2020.

Everything is float64 at 16 kHz, full scale 1.0, shape (samples,). All random numbers come from the Generator passed in.
"""
