// Records plain samples, because not every decoder reads what MediaRecorder makes, and none of it is lost so.

// The browser's own clean-up would change what the detector looks at.
const RAW = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia) && "AudioWorkletNode" in window;

// heard(seconds, level, bytes): called as sound arrives; bytes: of the WAV so far. Returns { stop() -> WAV as a Blob, discard() }.
export async function record(heard) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: RAW });
  const context = new AudioContext();
  const end = () => {
    for (const track of stream.getTracks()) track.stop();
    return context.close();
  };
  try {
    await context.audioWorklet.addModule("/static/recorder-worklet.js");
    await context.resume();
  } catch (error) {
    await end();
    throw error;
  }
  const blocks = [];
  let samples = 0, peak = 0, told = 0;
  const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  node.port.onmessage = ({ data }) => {
    blocks.push(data);
    samples += data.length;
    for (const value of data) peak = Math.max(peak, Math.abs(value));
    if (samples - told > context.sampleRate / 10) {
      heard(samples / context.sampleRate, peak, 44 + 2 * samples);
      told = samples;
      peak = 0;
    }
  };
  context.createMediaStreamSource(stream).connect(node);
  return {
    async stop() {
      await end();
      return wav(blocks, samples, context.sampleRate);
    },
    discard: end,
  };
}

// Mono, 16 bits.
export function wav(blocks, samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples, true);
  let at = 44;
  for (const block of blocks) {
    for (const value of block) {
      view.setInt16(at, Math.round(32767 * Math.max(-1, Math.min(1, value))), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}
