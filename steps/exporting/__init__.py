"""A trained detector as one graph, waveform in and score out, for runtimes other than this toolkit: ONNX and
torch.export."""
