"""Reading an utterance's audio, and saying what is wrong with one that cannot be used."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from utils.audio import Command, is_command, open_recording
from utils.cli import UserError
from utils.files import quoted
from utils.tables import Table, read_big_map


def _allowed(entry: str) -> str | Command:
    """An entry of a wav.scp whose commands the user allowed."""
    return Command(entry.strip().removesuffix("|").strip()) if is_command(entry) else entry


def _refusal(path: str | Path, number: int, utt: str, entry: str) -> UserError:
    return UserError(
        f"{path}: line {number}: {utt}: a command ({quoted(entry)}), which is run only with --allow-pipes: give it "
        "if you trust this file as you trust a script (run.sh and make_feats.sh: --allow-pipes true)"
    )


def wav_scp_entries(path: str | Path, allow_pipes: bool = False) -> Iterator[tuple[str, str | Command | UserError]]:
    """(utterance, entry) of a wav.scp, in its order: the name of a file or, with `allow_pipes`, a command. Without it the
    UserError that refuses the command, naming file and line. Raises UserError as read_big_map does."""
    for number, (utt, entry) in enumerate(read_big_map(path).pairs(), 1):  # an entry a line
        refused = is_command(entry) and not allow_pipes
        yield utt, _refusal(path, number, utt, entry) if refused else _allowed(entry)


class WavScp(Mapping[str, str | Command]):
    """The entries of a wav.scp none of which is refused, by utterance; `utts` in its order. A table's memory."""

    def __init__(self, entries: Table):
        self._entries, self.utts = entries, entries.key_column

    def __getitem__(self, utt: str) -> str | Command:
        return _allowed(self._entries[utt])

    def __contains__(self, utt: str) -> bool:  # type: ignore[override]
        return utt in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.utts)

    def __len__(self) -> int:
        return len(self.utts)


def read_wav_scp(path: str | Path, allow_pipes: bool = False) -> WavScp:
    """wav_scp_entries by utterance. Raises UserError for the first entry that is refused, and as read_big_map does."""
    entries = read_big_map(path)
    if not allow_pipes:
        for number, (utt, entry) in enumerate(entries.pairs(), 1):
            if is_command(entry):
                raise _refusal(path, number, utt, entry)
    return WavScp(entries)


def add_allow_pipes(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--allow-pipes",
        action="store_true",
        help="run the entries of wav.scp that are commands (`sph2pipe -f wav a.sph |`) by the shell, as Kaldi does",
    )


def read_waveform(
    utt: str, path: str | Path | Command, sample_rate: int, resample: bool = False, channel: int | None = None
) -> np.ndarray:
    """float64 (samples,), full scale 1, at `sample_rate` (Hz).

    Audio of another rate is an error, or with `resample` brought to `sample_rate` (soxr, high quality:
    ceil-like number of samples, duration kept). Audio of several channels is an error, or of it `channel` (from 0) is taken.

    Raises UserError naming the utterance and file: what utils.audio.open_recording refuses when it is strict, no samples,
    another rate without `resample`, several channels without `channel`, fewer channels than it asks for.
    """
    where = f"{utt} ({path})"
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
