"use strict";
// Runs beside the page: hands on the first channel of what the microphone hears, block by block.
class Recorder extends AudioWorkletProcessor {
  process([input]) {
    if (input.length) this.port.postMessage(input[0].slice());
    return true;
  }
}
registerProcessor("recorder", Recorder);
