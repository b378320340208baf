// Numbers as they are read.

// 1.204 -> "+1.20", with a true minus
export function number(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  return (Number(text) === 0 ? "" : value < 0 ? "−" : "+") + text;
}

// Seconds, with minutes and hours where a recording of `of` seconds has them: 7.5, 1:07.5, 1:01:07.5
export function clock(seconds, of) {
  const tenths = Math.round(seconds * 10);
  if (of < 60) return (tenths / 10).toFixed(1);
  const tail = ((tenths % 600) / 10).toFixed(1).padStart(4, "0"), minutes = Math.floor(tenths / 600);
  if (of < 3600) return `${minutes}:${tail}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${tail}`;
}

export const span = (one, of) => `${clock(one.begin, of)} to ${clock(one.end, of)}${of < 60 ? " s" : ""}`;
