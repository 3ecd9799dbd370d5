// The body of a function that Gradio calls with element, trigger, props, server, upload and watch.
// Shows props.value: {tokens, prefix, layers, heads, weights}, weights as bytes [layer head query key].
const find = (selector) => element.querySelector(selector);
let data = null, bytes = null;

const options = (select, count, more) => {
  const kept = select.value;
  select.replaceChildren(...[...more, ...Array.from({ length: count }, (_, i) => String(i + 1))].map((name) => new Option(name, name)));
  if ([...select.options].some((option) => option.value === kept)) select.value = kept;
};

const weight = (layer, head, query, key) => {
  const { heads, tokens } = data, size = tokens.length;
  const one = (n) => bytes[((layer * heads + n) * size + query) * size + key] / 255;
  if (head >= 0) return one(head);
  return Array.from({ length: heads }, (_, n) => one(n)).reduce((a, b) => a + b) / heads;
};

const draw = () => {
  if (!data) return;
  const layer = Number(find(".layer").value) - 1;
  const head = find(".head").value === "mean" ? -1 : Number(find(".head").value) - 1;
  const rows = data.tokens.map((_, q) => data.tokens.map((_, k) => (k > q ? 0 : weight(layer, head, q, k))));
  const most = Math.max(...rows.flat(), 1e-6);
  const name = (i) => {
    const node = document.createElement("span");
    node.textContent = data.tokens[i];
    if (i < data.prefix) node.className = "prefix";
    return node;
  };
  const table = document.createElement("table");
  const top = table.createTHead().insertRow();
  top.append(document.createElement("th"));
  data.tokens.forEach((_, i) => top.appendChild(document.createElement("th")).append(name(i)));
  const body = table.createTBody();
  rows.forEach((row, q) => {
    const line = body.insertRow();
    line.appendChild(document.createElement("th")).append(name(q));
    row.forEach((value, k) => {
      const cell = line.insertCell();
      if (k > q) return;
      cell.style.background = `color-mix(in srgb, var(--color-accent) ${Math.round((100 * value) / most)}%, transparent)`;
      cell.onmouseenter = () => {
        find(".said").textContent = `“${data.tokens[q]}” looks at “${data.tokens[k]}” with ${Math.round(100 * value)} % of its attention`;
      };
    });
  });
  find(".heat").replaceChildren(table);
};

const take = () => {
  if (!props.value?.tokens) return;
  data = props.value;
  bytes = Uint8Array.from(atob(data.weights), (c) => c.charCodeAt(0));
  options(find(".layer"), data.layers, []);
  options(find(".head"), data.heads, ["mean"]);
  find(".caption").textContent = data.caption;
  find(".said").textContent = "A row is a token, its cells what it looks at; point at one.";
  draw();
};

element.addEventListener("change", draw);
watch("value", take);
take();
