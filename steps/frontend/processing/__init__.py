"""What front ends share: reading audio, preparing a waveform, working on a finished matrix."""
