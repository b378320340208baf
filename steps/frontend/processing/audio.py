"""Reading an utterance's audio, and saying what is wrong with one that cannot be used."""

from __future__ import annotations

import io
import subprocess
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from utils.cli import UserError
from utils.files import quoted
from utils.segments import Stretch, Utterances
from utils.tables import read_big_map


@dataclass(frozen=True)
class Command:
    """An entry of a wav.scp that is a command whose output is audio, as Kaldi has it: `sph2pipe -f wav a.sph |`.

    text: without the pipe sign. Only WavScp makes one, and only where the user allowed it: a plain text is never run.
    kept: its output is held until another such command runs, for the segments of one recording that are read in a row.
    """

    text: str
    kept: bool = False

    def __str__(self) -> str:
        return f"{self.text} |"

    def output(self, where: str) -> bytes:
        """What the command writes, run by the shell as Kaldi runs it. Raises UserError that begins with `where`, with its
        exit status and the end of what it said on standard error, where it fails."""
        if self in _held:
            return _held[self]
        done = subprocess.run(self.text, shell=True, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
            end = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
            raise UserError(f"{where}: the command ended with {end}: {' / '.join(said) or 'it said nothing'}")
        if self.kept:
            _held.clear()
            _held[self] = done.stdout
        return done.stdout


_held: dict[Command, bytes] = {}  # the output of one command at most


Audio = str | Command | Stretch  # what an utterance of a data dir is read from


def _is_command(entry: str | Path) -> bool:
    return str(entry).strip().endswith("|")


def refuse_command(where: str, path: str | Path) -> None:
    """Raises UserError that begins with `where` for an entry of a wav.scp that is a command."""
    if _is_command(path):
        raise UserError(f"{where}: wav.scp entries that are commands are not run here; write the audio to files first")


def _allowed(entry: str, kept: bool = False) -> str | Command:
    """An entry of a wav.scp whose commands the user allowed."""
    return Command(entry.strip().removesuffix("|").strip(), kept) if _is_command(entry) else entry


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
    """The audio of each utterance of a wav.scp: the name of a file, a command, or a Stretch of one of them where a `segments`
    or a `reco2file_and_channel` stands beside it. utts: in their order; place: the file that lists them. A table's memory.

    Raises UserError as read_big_map and utils.segments.Utterances do, and, when it is asked for, for an utterance whose audio
    is a command, without `allow_pipes`.
    """

    def __init__(self, path: str | Path, allow_pipes: bool = False):
        self._path, self._entries, self._allow_pipes = path, read_big_map(path), allow_pipes
        self._utterances = Utterances(path, self._entries)
        self.utts, self.place = self._utterances.keys, self._utterances.place

    def refuse_commands(self) -> None:
        """Raises UserError, naming its line, for the first entry that is a command, unless they are allowed."""
        for number, (key, entry) in enumerate(() if self._allow_pipes else self._entries.pairs(), 1):
            if _is_command(entry):
                raise _refusal(self._path, number, key, entry)

    def __getitem__(self, utt: str) -> Audio:
        recording = self._utterances.recording_of(utt)
        entry = self._entries[recording]
        if not self._allow_pipes and _is_command(entry):
            raise _refusal(self._path, self._entries.place(recording) + 1, recording, entry)
        return self._utterances.stretch_of(utt, _allowed(entry, kept=self._utterances.has_segments))

    def __contains__(self, utt: str) -> bool:  # type: ignore[override]
        return utt in self._utterances

    def __iter__(self) -> Iterator[str]:
        return iter(self.utts)

    def __len__(self) -> int:
        return len(self.utts)


def read_wav_scp(path: str | Path, allow_pipes: bool = False) -> WavScp:
    """The audio of a wav.scp's utterances. Raises UserError for the first that is a command without `allow_pipes`, and as
    WavScp does."""
    wavs = WavScp(path, allow_pipes)
    wavs.refuse_commands()
    return wavs


def add_allow_pipes(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--allow-pipes",
        action="store_true",
        help="run the entries of wav.scp that are commands (`sph2pipe -f wav a.sph |`) by the shell, as Kaldi does",
    )


def _is_file(path: str | Path) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # a name longer than any can be
        return False


UNKNOWN_FRAMES = 1 << 62  # libsndfile tells more of a FLAC that was written to a pipe


@contextmanager
def open_audio(where: str, path: str | Path | Command) -> Iterator[soundfile.SoundFile]:
    """The audio file of `path`, or what a command writes, open for reading.

    Raises UserError that begins with `where`: a command that fails or is a plain text, missing, of unknown length,
    unreadable, also while it is read from.
    """
    if not isinstance(path, Command):
        refuse_command(where, path)
        if not _is_file(path):
            raise UserError(f"{where}: no such file")
    source = io.BytesIO(path.output(where)) if isinstance(path, Command) else str(path)
    try:
        if isinstance(source, str) and source.lower().endswith(".raw"):  # soundfile wants to be told rate and channels
            raise UserError(f"{where}: cannot be read as audio: .raw has no header; make it a WAV or FLAC file")
        with soundfile.SoundFile(source) as sound:
            if sound.frames > UNKNOWN_FRAMES:
                raise UserError(
                    f"{where}: its header does not tell how long it is (a FLAC from a pipe?): write it anew"
                )
            yield sound
    except soundfile.LibsndfileError as error:
        raise UserError(f"{where}: cannot be read as audio: {error.error_string}") from None


def read_channel(sound: soundfile.SoundFile, where: str, channel: int, samples: int) -> np.ndarray:
    """The next `samples` of one channel, float64 (samples,), full scale 1.

    Raises UserError that begins with `where`: truncated, empty, NaN or infinite samples.
    """
    waveform = sound.read(samples, dtype="float64", always_2d=True)[:, channel]
    if len(waveform) < samples:
        raise UserError(f"{where}: truncated: {len(waveform)} of {samples} samples")
    if len(waveform) == 0:
        raise UserError(f"{where}: empty: no samples")
    if not np.isfinite(waveform).all():
        raise UserError(f"{where}: NaN or infinite samples")
    return waveform


def _skip(sound: soundfile.SoundFile, samples: int) -> None:
    """Go to a sample. An MP3 is decoded up to there: libsndfile's seeking in it is not exact."""
    if sound.format != "MP3":
        sound.seek(samples)
        return
    while samples > 0:
        samples -= len(sound.read(min(samples, 1 << 20), always_2d=True)) or samples


def read_waveform(
    utt: str, path: str | Path | Command | Stretch, sample_rate: int, resample: bool = False, channel: int | None = None
) -> np.ndarray:
    """float64 (samples,), full scale 1, at `sample_rate` (Hz).

    Of a Stretch only its samples are decoded and, of several channels, the one that it names.

    Audio of another rate is an error, or with `resample` brought to `sample_rate` (soxr, high quality:
    ceil-like number of samples, duration kept). Audio of several channels is an error, or of it `channel` (from 0) is taken.

    Raises UserError naming the utterance and file: missing, unreadable, truncated, empty, NaN or infinite samples,
    another rate without `resample`, several channels without `channel`, fewer channels than it asks for, a Stretch that is
    not there.
    """
    where = f"{utt} ({path})"
    stretch = path if isinstance(path, Stretch) else Stretch(path)
    with open_audio(where, stretch.path) as sound:
        rate, channel = sound.samplerate, stretch.channel_of(sound.channels, channel)
        if rate != sample_rate and not resample:
            raise UserError(
                f"{where}: {rate} Hz where the conf's sample_rate is {sample_rate}: resample it, or set resample: true"
            )
        if sound.channels != 1 and channel is None:
            raise UserError(
                f"{where}: {sound.channels} channels where one is expected: mix them first, or set channel: 0"
            )
        if channel is not None and channel >= sound.channels:
            raise UserError(f"{where}: no channel {channel}: it has {sound.channels}, counted from 0")
        first, last = stretch.span(where, rate, sound.frames)
        if first > 0:
            _skip(sound, first)
        waveform = read_channel(sound, where, channel or 0, last - first)
    if rate != sample_rate:
        import soxr  # here, because few need it and it takes a while to load

        waveform = soxr.resample(waveform, rate, sample_rate, quality="HQ")
        if len(waveform) == 0:
            raise UserError(f"{where}: too short to be resampled from {rate} to {sample_rate} Hz")
    return waveform
