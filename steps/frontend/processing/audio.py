"""Reading an utterance's audio, and saying what is wrong with one that cannot be used."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from utils.audio import Command, is_command, open_recording
from utils.cli import UserError
from utils.files import quoted
from utils.segments import Stretch, Utterances
from utils.tables import read_big_map

Audio = str | Command | Stretch  # what an utterance of a data dir is read from


def _allowed(entry: str, kept: bool = False) -> str | Command:
    """An entry of a wav.scp whose commands the user allowed."""
    return Command(entry.strip().removesuffix("|").strip(), kept) if is_command(entry) else entry


def _refusal(path: str | Path, number: int, utt: str, entry: str) -> UserError:
    return UserError(
        f"{path}: line {number}: {utt}: a command ({quoted(entry)}), which is run only with --allow-pipes: give it "
        "if you trust this file as you trust a script (run.sh and make_feats.sh: --allow-pipes true)"
    )


def wav_scp_entries(path: str | Path, allow_pipes: bool = False) -> Iterator[tuple[str, Audio | UserError]]:
    """(utterance, its audio) of a wav.scp, as WavScp has them, in their order. In the place of a command without
    `allow_pipes` the UserError that refuses it, naming file and line. Raises UserError as WavScp does."""
    wavs = WavScp(path, allow_pipes)
    for utt in wavs.utts:
        try:
            yield utt, wavs[utt]
        except UserError as error:
            yield utt, error


class WavScp(Mapping[str, Audio]):
    """The audio of each utterance of a wav.scp: the name of a file, a command, or a Stretch of one of them where a
    `segments` or a `reco2file_and_channel` stands beside it. utts: in their order; place: the file that lists them. A
    table's memory.

    Raises UserError as read_big_map and utils.segments.Utterances do, and, when it is asked for, for an utterance whose
    audio is a command, without `allow_pipes`.
    """

    def __init__(self, path: str | Path, allow_pipes: bool = False):
        self._path, self._entries, self._allow_pipes = path, read_big_map(path), allow_pipes
        self._utterances = Utterances(path, self._entries)
        self.utts, self.place = self._utterances.keys, self._utterances.place

    def refuse_commands(self) -> None:
        """Raises UserError, naming its line, for the first entry that is a command, unless they are allowed."""
        for number, (key, entry) in enumerate(() if self._allow_pipes else self._entries.pairs(), 1):
            if is_command(entry):
                raise _refusal(self._path, number, key, entry)

    def __getitem__(self, utt: str) -> Audio:
        recording = self._utterances.recording_of(utt)
        entry = self._entries[recording]
        if not self._allow_pipes and is_command(entry):
            raise _refusal(self._path, self._entries.place(recording) + 1, recording, entry)
        return self._utterances.stretch_of(utt, _allowed(entry, kept=self._utterances.has_segments))

    def __contains__(self, utt: str) -> bool:  # type: ignore[override]
        return utt in self._utterances

    def __iter__(self) -> Iterator[str]:
        return iter(self.utts)

    def __len__(self) -> int:
        return len(self.utts)


def read_wav_scp(path: str | Path, allow_pipes: bool = False) -> WavScp:
    """The audio of a wav.scp's utterances. Raises UserError for the first that is a command without `allow_pipes`, and
    as WavScp does."""
    wavs = WavScp(path, allow_pipes)
    wavs.refuse_commands()
    return wavs


def add_allow_pipes(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--allow-pipes",
        action="store_true",
        help="run the entries of wav.scp that are commands (`sph2pipe -f wav a.sph |`) by the shell, as Kaldi does",
    )


def read_waveform(
    utt: str, path: str | Path | Command | Stretch, sample_rate: int, resample: bool = False, channel: int | None = None
) -> np.ndarray:
    """float64 (samples,), full scale 1, at `sample_rate` (Hz).

    Of a Stretch only its samples are decoded and, of several channels, the one that it names.

    Audio of another rate is an error, or with `resample` brought to `sample_rate` (soxr, high quality: ceil-like number
    of samples, duration kept). Audio of several channels is an error, or of it `channel` (from 0) is taken.

    Raises UserError naming the utterance and file: what utils.audio.open_recording refuses when it is strict, no
    samples, another rate without `resample`, several channels without `channel`, fewer channels than it asks for.
    """
    where = f"{utt} ({path})"
    if isinstance(path, Stretch) and path.side is not None:
        channel = None  # the data dir says which one
    with open_recording(path, where, strict=True, block_seconds=60.0) as recording:
        rate = recording.rate
        if rate != sample_rate and not resample:
            raise UserError(
                f"{where}: {rate} Hz where the conf's sample_rate is {sample_rate}: resample it, or set resample: true"
            )
        if recording.channels != 1 and channel is None:
            raise UserError(
                f"{where}: {recording.channels} channels where one is expected: mix them first, or set channel: 0"
            )
        if channel is not None and channel >= recording.channels:
            raise UserError(f"{where}: no channel {channel}: it has {recording.channels}, counted from 0")
        blocks = [block[:, channel or 0] for block in recording.blocks]
    if not blocks:
        raise UserError(f"{where}: empty: no samples")
    waveform = (
        blocks[0].astype(np.float64, copy=False) if len(blocks) == 1 else np.concatenate(blocks, dtype=np.float64)
    )
    if rate != sample_rate:
        import soxr  # here, because few need it and it takes a while to load

        waveform = soxr.resample(waveform, rate, sample_rate, quality="HQ")
        if len(waveform) == 0:
            raise UserError(f"{where}: too short to be resampled from {rate} to {sample_rate} Hz")
    return waveform
