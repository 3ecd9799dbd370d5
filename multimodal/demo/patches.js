// The body of a function that Gradio calls with element, trigger, props, server, upload and watch.
// Shows props.value: {noisy, clean, times, side, layers, heads, weights}: pictures as data URIs, a step
// each, and weights as bytes [step layer head query key].
const find = (selector) => element.querySelector(selector);
const SIZE = 256;
let data = null, bytes = null, patch = 5;

const options = (select, count, more) => {
  const kept = select.value;
  select.replaceChildren(...[...more, ...Array.from({ length: count }, (_, i) => String(i + 1))].map((name) => new Option(name, name)));
  if ([...select.options].some((option) => option.value === kept)) select.value = kept;
};

const row = (step, layer, head) => {
  const { layers, heads, side } = data, size = side * side;
  const one = (n, key) => bytes[(((step * layers + layer) * heads + n) * size + patch) * size + key] / 255;
  const all = Array.from({ length: heads }, (_, n) => n);
  return Array.from({ length: size }, (_, key) =>
    head >= 0 ? one(head, key) : all.reduce((sum, n) => sum + one(n, key), 0) / heads);
};

const plane = (svg, picture, weights) => {
  const cell = SIZE / data.side, most = Math.max(...weights, 1e-6);
  const square = (i, style, said = "") => `<rect data-patch="${i}" x="${(i % data.side) * cell}" y="${Math.floor(i / data.side) * cell}" width="${cell}" height="${cell}" ${style}>${said && `<title>${said}</title>`}</rect>`;
  svg.innerHTML = `<image href="${picture}" width="${SIZE}" height="${SIZE}"/>` +
    weights.map((w, i) => square(i, `fill="#ff7c00" fill-opacity="${(0.7 * w / most).toFixed(3)}" stroke="#808080" stroke-opacity="0.35"`, `${Math.round(100 * w)} %`)).join("") +
    square(patch, `fill="none" stroke="#00b7ff" stroke-width="4" pointer-events="none"`);
};

const draw = () => {
  if (!data) return;
  const step = Number(find(".step").value), layer = Number(find(".layer").value) - 1;
  const head = find(".head").value === "mean" ? -1 : Number(find(".head").value) - 1;
  const weights = row(step, layer, head);
  plane(find("svg.noisy"), data.noisy[step], weights);
  plane(find("svg.clean"), data.clean[step], weights);
  find(".when").textContent = `step ${step + 1} of ${data.times.length}, time ${data.times[step].toFixed(2)}`;
};

const take = () => {
  if (!props.value?.times) return;
  data = props.value;
  bytes = Uint8Array.from(atob(data.weights), (c) => c.charCodeAt(0));
  patch = Math.min(patch, data.side ** 2 - 1);
  options(find(".layer"), data.layers, []);
  options(find(".head"), data.heads, ["mean"]);
  const slider = find(".step"), last = data.times.length - 1;
  const kept = Number(slider.max) === last ? Number(slider.value) : Math.round(last / 3);
  slider.max = last;
  slider.value = kept;
  find(".planes").hidden = false;
  draw();
};

element.addEventListener("input", draw);
element.addEventListener("click", (event) => {
  const chosen = event.target.dataset?.patch;
  if (chosen === undefined) return;
  patch = Number(chosen);
  draw();
});
watch("value", take);
take();
