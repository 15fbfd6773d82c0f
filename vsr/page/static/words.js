// Numbers and times as people say them.

const whole = new Intl.NumberFormat("en");
const tenth = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const count = (number) => whole.format(number);

/** "12.3 frames/s" */
export const rate = (fps) => `${fps < 100 ? tenth.format(fps) : whole.format(Math.round(fps))} frames/s`;

/** "42 %"; 100 only when all is done. */
export const percent = (done, total) => `${Math.min(Math.floor((100 * done) / total), 100)} %`;

/** "12.3 GB" */
export function bytes(number) {
  const units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
  let size = number;
  let unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit && size < 100 ? tenth.format(size) : whole.format(Math.round(size))} ${units[unit]}`;
}

/** "45 s", "12 min", "3 h 5 min", "2 d 4 h" */
export function duration(seconds) {
  const total = Math.max(Math.round(seconds), 0);
  if (total < 60) return `${total} s`;
  const minutes = Math.round(total / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** "about 12 min left"; does not count seconds down, which nobody can foretell. */
export function timeLeft(seconds) {
  if (seconds < 20) return "a few seconds left";
  if (seconds < 90) return "about a minute left";
  return `about ${duration(seconds)} left`;
}

/** "just now", "5 min ago", "3 h ago", "2 d ago" */
export function ago(seconds) {
  if (seconds < 45) return "just now";
  const [size, unit] = seconds < 3570 ? [60, "min"] : seconds < 86400 ? [3600, "h"] : [86400, "d"];
  return `${Math.max(Math.round(seconds / size), 1)} ${unit} ago`;
}

/** A moment of a film: "1:02:03" or "2:03.5" */
export function moment(seconds) {
  const tenths = Math.round(seconds * 10);
  const [h, m, s] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, (tenths % 600) / 10];
  const tail = s.toFixed(1).padStart(4, "0");
  return h ? `${h}:${String(m).padStart(2, "0")}:${tail}` : `${m}:${tail}`;
}
