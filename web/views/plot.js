// The value of the watched line, live. uPlot comes once a line is watched, by a script element: the page may run no
// inline script.

import { html, Quiet, useEffect, useRef, useState } from '../parts.js';
import { number, t } from '../words.js';

/** Seconds that are in sight. */
const SPAN = 60;
const height = 220;

let loading = null;
/** @returns {Promise<any>} */
const load = () => (loading ??= new Promise((resolve, reject) => {
  const script = document.createElement('script');
  script.src = new URL('../vendor/uplot.js', import.meta.url).href;
  script.onload = () => resolve(/** @type {any} */ (globalThis).uPlot);
  script.onerror = () => reject((loading = null));
  document.head.append(script);
}));

/** @param {{line: import('../types.js').Line, samples: {at: number, value: number | null}[]}} props */
export function Plot({ line, samples }) {
  const place = useRef(/** @type {any} */ (null));
  const plot = useRef(/** @type {any} */ (null));
  const [failed, setFailed] = useState(false);
  const { hysteresis, ...thresholds } = line.thresholds;
  const limits = Object.values(thresholds).filter((value) => value !== null);
  const columns = () => [
    samples.map(({ at }) => at / 1000),
    samples.map(({ value }) => value),
    ...limits.map((limit) => samples.map(() => limit)),
  ];

  useEffect(() => {
    const element = place.current;
    let isGone = false;
    load().then((UPlot) => isGone || (plot.current = new UPlot(options(element, limits), columns(), element)), () => setFailed(true));
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }));
    resized.observe(element);
    return () => {
      isGone = true;
      resized.disconnect();
      plot.current?.destroy();
    };
  }, []);
  useEffect(() => {
    const max = (samples.at(-1)?.at ?? Date.now()) / 1000;
    plot.current?.setData(columns(), false);
    plot.current?.setScale('x', { min: max - SPAN, max });
  }, [samples]);

  const values = samples.flatMap(({ value }) => value ?? []);
  const range = values.length > 0 && t('lines.range', { min: number(Math.min(...values)), max: number(Math.max(...values)), unit: line.unit });
  return html`<figure><div ref=${place} role="img" aria-label=${t('lines.plot', { flat: line.flat })}></div>
    <${Quiet}>${failed ? t('lines.noPlot') : range}<//></figure>`;
}

function options(element, limits) {
  const color = (name) => getComputedStyle(element).getPropertyValue(`--${name}`);
  const axis = { stroke: color('quiet'), grid: { stroke: color('line'), width: 1 }, ticks: { stroke: color('line') } };
  const curve = { points: { show: false } };
  const clock = (_, times) => times.map((time) => new Date(time * 1000).toTimeString().slice(3, 8));
  return {
    width: element.clientWidth, height,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, low, high) => [Math.min(0, low), Math.max(...limits, high) * 1.1] } },
    axes: [{ ...axis, values: clock }, axis],
    series: [{}, { ...curve, stroke: color('accent'), width: 3 }, ...limits.map(() => ({ ...curve, stroke: color('quiet'), dash: [4, 4] }))],
  };
}
