// The body of a function that Gradio calls with element, trigger, props, server, upload and watch.
const SHAPES = {
  text: "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0Z",
  image: "M-4.5,-4.5h9v9h-9Z",
  audio: "M0,-5.5L5.5,4.5h-11Z",
  video: "M0,-6.3L6.3,0L0,6.3L-6.3,0Z",
};
const WIDTH = 1000, HEIGHT = 750, EDGE = 24;
const find = (selector) => element.querySelector(selector);
const svg = find("svg"), look = find(".look"), near = find(".near"), legend = find(".legend");
const bySvg = (name, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};
const shown = new Map();
let map = null, chosen = null, hovered = null, sound = null;
let view = { x: 0, y: 0, zoom: 1 }, dragged = null;

const at = (name) => {
  const [modality, index] = name.split(" ");
  const [x, y] = map.places[modality][Number(index)];
  return [EDGE + x * (WIDTH - 2 * EDGE), EDGE + (1 - y) * (HEIGHT - 2 * EDGE)];
};

const lookAt = (x, y, zoom) => {
  zoom = Math.max(1, Math.min(16, zoom));
  const width = WIDTH / zoom, height = HEIGHT / zoom;
  view = { x: Math.max(0, Math.min(WIDTH - width, x)), y: Math.max(0, Math.min(HEIGHT - height, y)), zoom };
  svg.setAttribute("viewBox", `${view.x} ${view.y} ${width} ${height}`);
  svg.style.setProperty("--size", (zoom ** -0.75).toFixed(4));  // marks grow less than the map
};

const pointer = (event) => {
  const box = svg.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
};

const zoom = (factor, [u, v]) => {
  const next = Math.max(1, Math.min(16, view.zoom * factor));
  lookAt(view.x + u * WIDTH * (1 / view.zoom - 1 / next), view.y + v * HEIGHT * (1 / view.zoom - 1 / next), next);
};

const colourOf = (modality, index, factor) => {
  if (factor === "modality") return map.palette.modality[modality];
  const value = map.factors[factor][index];
  return factor === "size" ? map.palette.size[Math.min(9, Math.floor(value * 10))] : map.palette[factor][value];
};

const paint = () => {
  const factor = find("select.factor").value;
  for (const node of svg.querySelectorAll(".point")) {
    const [modality, index] = node.dataset.name.split(" ");
    node.setAttribute("fill", colourOf(modality, Number(index), factor));
    node.classList.toggle("off", !find(`input[value=${modality}]`).checked);
  }
  const names = factor === "modality" ? Object.keys(map.palette.modality) : map.names[factor];
  legend.replaceChildren(...names.map((name, i) => {
    const item = document.createElement("span"), dot = document.createElement("i");
    const colours = map.palette[factor];
    dot.style.background = factor === "size" ? colours[[0, 3, 6, 9][i]] : colours[factor === "modality" ? name : i];
    item.append(dot, name);
    return item;
  }));
};

const mark = (links) => {
  svg.querySelectorAll(".ring, .link").forEach((node) => node.remove());
  if (!chosen) return;
  const [x, y] = at(chosen);
  for (const name of links) {
    const [x2, y2] = at(name);
    svg.append(bySvg("line", { class: "link", x1: x, y1: y, x2, y2 }));
  }
  svg.append(bySvg("circle", { class: "ring", r: 11, style: `transform: translate(${x}px, ${y}px) scale(var(--size, 1))` }));
};

const fetched = async (name) => {
  if (!shown.has(name)) shown.set(name, await server.sample(name));
  return shown.get(name);
};

const play = (box) => {
  sound?.pause();
  sound = box.querySelector("audio");
  // Browsers keep quiet until the first click on the page.
  if (sound && find("input.sounds").checked) sound.play().catch(() => {});
};

const show = async (name) => {
  hovered = name;
  const answer = await fetched(name);
  if (hovered !== name) return;
  look.innerHTML = answer.html;
  for (const button of look.querySelectorAll(".use button"))
    button.onclick = () => trigger("select", { slot: button.dataset.slot, name });
  play(look);
};

const choose = async (name) => {
  chosen = name;
  mark([]);
  show(name);
  const answer = await server.neighbours(name);
  if (chosen !== name) return;
  near.innerHTML = answer.html;
  mark(answer.names);
  for (const button of near.querySelectorAll("button.go")) {
    button.onclick = () => choose(button.dataset.name);
    button.onmouseenter = () => show(button.dataset.name);
    button.onmouseleave = () => show(chosen);
  }
};

const draw = () => {
  const nodes = [];
  for (const [modality, places] of Object.entries(map.places))
    places.forEach((_, index) => {
      const name = `${modality} ${index}`, [x, y] = at(name);
      nodes.push(bySvg("path", { class: "point", d: SHAPES[modality], style: `transform: translate(${x.toFixed(1)}px, ${y.toFixed(1)}px) scale(var(--size, 1))`, "data-name": name }));
    });
  svg.replaceChildren(...nodes);
  paint();
};

svg.addEventListener("pointerover", (event) => {
  const name = event.target.dataset?.name;
  if (name && event.pointerType !== "touch") show(name);
});
svg.addEventListener("pointerleave", () => { if (chosen && hovered !== chosen) show(chosen); });
svg.addEventListener("click", (event) => {
  const name = event.target.dataset?.name;
  if (name) choose(name);
});
svg.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;  // a plain wheel scrolls the page
  event.preventDefault();
  zoom(event.deltaY < 0 ? 1.25 : 0.8, pointer(event));
}, { passive: false });
svg.addEventListener("dblclick", (event) => zoom(event.shiftKey ? 0.5 : 2, pointer(event)));
svg.addEventListener("pointerdown", (event) => { dragged = view.zoom > 1 ? pointer(event) : null; });
svg.addEventListener("pointermove", (event) => {
  if (!dragged || !event.buttons) return;
  const [u, v] = pointer(event);
  lookAt(view.x - ((u - dragged[0]) * WIDTH) / view.zoom, view.y - ((v - dragged[1]) * HEIGHT) / view.zoom, view.zoom);
  dragged = [u, v];
});
for (const [name, act] of [["in", () => zoom(2, [0.5, 0.5])], ["out", () => zoom(0.5, [0.5, 0.5])], ["all", () => lookAt(0, 0, 1)]])
  find(`.zoom [data-zoom=${name}]`).onclick = act;
element.querySelectorAll("select.factor, .modalities input").forEach((node) => node.addEventListener("change", paint));

server.points({}).then((answer) => {
  if (answer.wrong) {
    look.innerHTML = answer.html;
    return;
  }
  map = answer;
  look.innerHTML = "<p class='note'>Point at a sample to see or hear it; click it for its neighbours.</p>";
  draw();
});
